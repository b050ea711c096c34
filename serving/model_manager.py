"""The models that are served, kept in step with what is promoted."""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from config.errors import IcanvasError, IntegrityError, NotFoundError
from serving.engines import Engine
from serving.loaded_model import Served, load_served
from serving.metrics import Metrics
from storage import ObjectStore
from storage.promotions import Promotion, promoted_names, read_promoted

# Seconds that a look at the store may take to end.
_PATIENCE = 10

log = logging.getLogger("icanvas.serving")


@dataclass(frozen=True)
class Refused:
    """A promotion that failed its check.

    Attributes
    ----------
    promotion : it.
    why : a sentence.
    """

    promotion: Promotion
    why: str


class Shelf:
    """What is served, renewed by a thread that looks at the store.

    A new promotion is loaded and checked beside the model that it replaces, and takes its place in
    one step: what was begun with the old one ends with it. One that fails its check is not tried
    again until something else is promoted, and the old model stays. While the store cannot be read
    everything stays as it is.

    Parameters
    ----------
    store : holds the promotions.
    engine : runs them.
    poll : seconds between two looks.
    metrics : is told of every change.
    """

    def __init__(self, store: ObjectStore, engine: Engine, poll: float, metrics: Metrics) -> None:
        self._store, self._engine, self._poll, self._metrics = store, engine, poll, metrics
        self._models: Mapping[str, Served] = MappingProxyType({})
        self._refused: Mapping[str, Refused] = MappingProxyType({})
        self._looked = False
        self._trouble: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="shelf", daemon=True)

    @property
    def models(self) -> Mapping[str, Served]:
        """What is served by name, in their order; another mapping after every change."""
        return self._models

    @property
    def refused(self) -> Mapping[str, Refused]:
        """Promotions that failed their check, by name."""
        return self._refused

    @property
    def looked(self) -> bool:
        """Whether the store was read once."""
        return self._looked

    @property
    def trouble(self) -> str | None:
        """Why the last look at the store failed; None if it did not."""
        return self._trouble

    def start(self) -> None:
        """Begin to look, at once and in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking; what is served stays."""
        self._stop.set()
        # A store that says nothing would hold the server's end up.
        self._thread.join(_PATIENCE)

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except Exception:
                # The next look may go better, and what is served is there.
                log.exception("the store was looked at in vain")
            self._stop.wait(self._poll)

    def look(self) -> None:
        """Bring what is served in step with what is promoted."""
        try:
            names = promoted_names(self._store)
        except IcanvasError as error:
            self._tell(str(error))
            return
        trouble = None
        for name in sorted({*names, *self._models, *self._refused}):
            if self._stop.is_set():
                return
            try:
                promotion = read_promoted(self._store, name) if name in names else None
            except IcanvasError as error:
                trouble = str(error)
            else:
                trouble = self._renew(name, promotion) or trouble
        self._tell(trouble)
        self._looked = True
        if trouble is None:
            self._metrics.looked.set(time.time())

    def _renew(self, name: str, promotion: Promotion | None) -> str | None:
        """Serve a promotion, or with None no longer; return why that has to wait, if it has."""
        current, refused = self._models.get(name), self._refused.get(name)
        if promotion is None:
            self._refuse(name, None)
            if current is not None:
                self._put(name, None)
                log.warning("%s: is not promoted any more, and not served", name)
            return None
        if current is not None and current.promotion.export == promotion.export:
            if current.promotion != promotion:
                # The same files, promoted again.
                self._put(name, replace(current, promotion=promotion))
            self._refuse(name, None)
            return None
        if refused is not None and refused.promotion == promotion:
            return None
        began = time.perf_counter()
        try:
            served = load_served(self._store, name, promotion, self._engine)
        except (NotFoundError, IntegrityError) as error:
            self._refuse(name, Refused(promotion, _say(error)))
            self._metrics.swaps.labels(name, "refused").inc()
            kept = f"version {current.promotion.export} stays" if current else "nothing is served"
            log.error(
                "%s: version %s is refused, %s: %s", name, promotion.export, kept, _say(error)
            )
            return None
        except Exception as error:
            # The store, or this machine: the same may go well the next time.
            return f"{name}: {_say(error)}"
        self._put(name, served)
        self._refuse(name, None)
        self._metrics.swaps.labels(name, "served").inc()
        log.info(
            "%s: version %s of run %s, epoch %d, is served after %.1f s; its examples differ by "
            "%.2f of 255",
            name,
            promotion.export,
            promotion.run,
            promotion.epoch,
            time.perf_counter() - began,
            served.apart,
        )
        return None

    def _put(self, name: str, served: Served | None) -> None:
        before = self._models.get(name)
        if before is not None:
            self._metrics.models.remove(*_labels(before))
        models = {key: value for key, value in self._models.items() if key != name}
        if served is not None:
            models[name] = served
            self._metrics.models.labels(*_labels(served)).set(1)
        self._models = MappingProxyType(dict(sorted(models.items())))

    def _refuse(self, name: str, refused: Refused | None) -> None:
        before = self._refused.get(name)
        if before is not None:
            self._metrics.refused.remove(name, before.promotion.export)
        rest = {key: value for key, value in self._refused.items() if key != name}
        if refused is not None:
            rest[name] = refused
            self._metrics.refused.labels(name, refused.promotion.export).set(1)
        self._refused = MappingProxyType(rest)

    def _tell(self, trouble: str | None) -> None:
        """Log trouble with the store once, and its end."""
        if trouble != self._trouble:
            if trouble is None:
                log.info("the store can be read again")
            else:
                log.warning("what is promoted cannot be read, and all stays as it is: %s", trouble)
        self._trouble = trouble


def _labels(served: Served) -> tuple[str, str, str, str]:
    promotion = served.promotion
    return served.name, promotion.export, promotion.run, str(promotion.epoch)


def _say(error: Exception) -> str:
    return str(error) if isinstance(error, IcanvasError) else f"{type(error).__name__}: {error}"
