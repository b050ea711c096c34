"""The models that are served, kept in step with what is promoted."""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from config.errors import IcanvasError, IntegrityError, NotFoundError
from serving.engines import GeneratorEngine
from serving.loaded_model import LoadedModel, load_model
from serving.metrics import ServerMetrics
from storage import ObjectStore
from storage.promotions import Promotion, list_promoted_datasets, read_promoted

# Seconds that a look at the store may take to end.
_JOIN_TIMEOUT_S = 10

log = logging.getLogger("icanvas.serving")


@dataclass(frozen=True)
class RejectedModel:
    """A promotion that failed its check.

    Attributes
    ----------
    promotion : it.
    why : a sentence.
    """

    promotion: Promotion
    reason: str


class ModelManager:
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

    def __init__(self, store: ObjectStore, engine: GeneratorEngine, poll_interval: float, metrics: ServerMetrics) -> None:
        self._store, self._engine, self._poll_interval, self._metrics = store, engine, poll_interval, metrics
        self._models: Mapping[str, LoadedModel] = MappingProxyType({})
        self._rejected: Mapping[str, RejectedModel] = MappingProxyType({})
        self._has_polled = False
        self._last_error: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shelf", daemon=True)

    @property
    def models(self) -> Mapping[str, LoadedModel]:
        """What is served by name, in their order; another mapping after every change."""
        return self._models

    @property
    def rejected(self) -> Mapping[str, RejectedModel]:
        """Promotions that failed their check, by name."""
        return self._rejected

    @property
    def has_polled(self) -> bool:
        """Whether the store was read once."""
        return self._has_polled

    @property
    def last_error(self) -> str | None:
        """Why the last look at the store failed; None if it did not."""
        return self._last_error

    def start(self) -> None:
        """Begin to look, at once and in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking; what is served stays."""
        self._stop.set()
        # A store that says nothing would hold the server's end up.
        self._thread.join(_JOIN_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.poll()
            except Exception:
                # The next look may go better, and what is served is there.
                log.exception("the store was looked at in vain")
            self._stop.wait(self._poll_interval)

    def poll(self) -> None:
        """Bring what is served in step with what is promoted."""
        try:
            names = list_promoted_datasets(self._store)
        except IcanvasError as error:
            self._log_store_error(str(error))
            return
        error_message = None
        for name in sorted({*names, *self._models, *self._rejected}):
            if self._stop.is_set():
                return
            try:
                promotion = read_promoted(self._store, name) if name in names else None
            except IcanvasError as error:
                error_message = str(error)
            else:
                error_message = self._update_model(name, promotion) or error_message
        self._log_store_error(error_message)
        self._has_polled = True
        if error_message is None:
            self._metrics.store_last_success.set(time.time())

    def _update_model(self, name: str, promotion: Promotion | None) -> str | None:
        """Serve a promotion, or with None no longer; return why that has to wait, if it has."""
        current, rejected = self._models.get(name), self._rejected.get(name)
        if promotion is None:
            self._set_rejected(name, None)
            if current is not None:
                self._set_model(name, None)
                log.warning("%s: is not promoted any more, and not served", name)
            return None
        if current is not None and current.promotion.export == promotion.export:
            if current.promotion != promotion:
                # The same files, promoted again.
                self._set_model(name, replace(current, promotion=promotion))
            self._set_rejected(name, None)
            return None
        if rejected is not None and rejected.promotion == promotion:
            return None
        start = time.perf_counter()
        try:
            model = load_model(self._store, name, promotion, self._engine)
        except (NotFoundError, IntegrityError) as error:
            self._set_rejected(name, RejectedModel(promotion, _format_error(error)))
            self._metrics.promotions.labels(name, "refused").inc()
            outcome = f"version {current.promotion.export} stays" if current else "nothing is served"
            log.error(
                "%s: version %s is refused, %s: %s", name, promotion.export, outcome, _format_error(error)
            )
            return None
        except Exception as error:
            # The store, or this machine: the same may go well the next time.
            return f"{name}: {_format_error(error)}"
        self._set_model(name, model)
        self._set_rejected(name, None)
        self._metrics.promotions.labels(name, "served").inc()
        log.info(
            "%s: version %s of run %s, epoch %d, is served after %.1f s; its examples differ by "
            "%.2f of 255",
            name,
            promotion.export,
            promotion.run,
            promotion.epoch,
            time.perf_counter() - start,
            model.max_mean_abs_diff,
        )
        return None

    def _set_model(self, name: str, model: LoadedModel | None) -> None:
        previous = self._models.get(name)
        if previous is not None:
            self._metrics.model_info.remove(*_labels(previous))
        models = {key: value for key, value in self._models.items() if key != name}
        if model is not None:
            models[name] = model
            self._metrics.model_info.labels(*_labels(model)).set(1)
        self._models = MappingProxyType(dict(sorted(models.items())))

    def _set_rejected(self, name: str, rejected: RejectedModel | None) -> None:
        previous = self._rejected.get(name)
        if previous is not None:
            self._metrics.promotion_rejected.remove(name, previous.promotion.export)
        others = {key: value for key, value in self._rejected.items() if key != name}
        if rejected is not None:
            others[name] = rejected
            self._metrics.promotion_rejected.labels(name, rejected.promotion.export).set(1)
        self._rejected = MappingProxyType(others)

    def _log_store_error(self, error_message: str | None) -> None:
        """Log trouble with the store once, and its end."""
        if error_message != self._last_error:
            if error_message is None:
                log.info("the store can be read again")
            else:
                log.warning("what is promoted cannot be read, and all stays as it is: %s", error_message)
        self._last_error = error_message


def _labels(model: LoadedModel) -> tuple[str, str, str, str]:
    promotion = model.promotion
    return model.name, promotion.export, promotion.run, str(promotion.epoch)


def _format_error(error: Exception) -> str:
    return str(error) if isinstance(error, IcanvasError) else f"{type(error).__name__}: {error}"
