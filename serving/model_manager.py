"""Loading of promoted models: a thread polls the store, and loads, replaces and drops models."""

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

# How long ``close`` waits for a running poll.
_JOIN_TIMEOUT_S = 10

log = logging.getLogger("icanvas.serving")


@dataclass(frozen=True)
class RejectedModel:
    """A promotion whose generator failed its check.

    Attributes
    ----------
    promotion : Promotion
        The promotion.
    reason : str
        The error's message.
    """

    promotion: Promotion
    reason: str


class ModelManager:
    """Holds the loaded models, and updates them from the store in a background thread.

    A new promotion is loaded and checked while its predecessor serves, and then replaces it
    atomically; running requests finish with the old model. A promotion that fails its check is
    rejected, and its predecessor stays; it is not loaded again until the promotion changes. While
    the store cannot be read, all loaded models stay.

    Parameters
    ----------
    store : ObjectStore
        Holds the promotions.
    engine : GeneratorEngine
        Runs the generators.
    poll_interval : float
        Seconds between two polls of the store.
    metrics : ServerMetrics
        Records loaded and rejected promotions.
    """

    def __init__(
        self,
        store: ObjectStore,
        engine: GeneratorEngine,
        poll_interval: float,
        metrics: ServerMetrics,
    ) -> None:
        self._store = store
        self._engine = engine
        self._poll_interval = poll_interval
        self._metrics = metrics
        self._models: Mapping[str, LoadedModel] = MappingProxyType({})
        self._rejected: Mapping[str, RejectedModel] = MappingProxyType({})
        self._has_polled = False
        self._last_error: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-manager", daemon=True)

    @property
    def models(self) -> Mapping[str, LoadedModel]:
        """Loaded models by name, sorted; an immutable mapping that is replaced at every change."""
        return self._models

    @property
    def rejected(self) -> Mapping[str, RejectedModel]:
        """Promotions that failed their check, by name of the model."""
        return self._rejected

    @property
    def has_polled(self) -> bool:
        """Whether the list of promotions was read at least once."""
        return self._has_polled

    @property
    def last_error(self) -> str | None:
        """Message of the last poll's error; None if it succeeded."""
        return self._last_error

    def start(self) -> None:
        """Start the background thread, which polls immediately."""
        self._thread.start()

    def close(self) -> None:
        """Stop the background thread; loaded models stay."""
        self._stop.set()
        # With a timeout: a store that does not respond must not block the shutdown.
        self._thread.join(_JOIN_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.poll()
            except Exception:
                # Loaded models are not affected, and the next poll may succeed.
                log.exception("Polling the store failed; retrying in %g s", self._poll_interval)
            self._stop.wait(self._poll_interval)

    def poll(self) -> None:
        """Read the promotions, and load, replace and drop models accordingly."""
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
        """Load a promotion, or with None drop the model.

        Returns
        -------
        str or None
            Why loading failed, if the next poll should try again; else None.
        """
        current, rejected = self._models.get(name), self._rejected.get(name)
        if promotion is None:
            self._set_rejected(name, None)
            if current is not None:
                self._set_model(name, None)
                log.warning("%s: dropped the model: it is no longer promoted", name)
            return None
        if current is not None and current.promotion.export == promotion.export:
            if current.promotion != promotion:
                # The same export was promoted again.
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
            self._metrics.promotions.labels(name, "rejected").inc()
            outcome = (
                f"keeping version {current.promotion.export}" if current else "no model is loaded"
            )
            log.error(
                "%s: rejected version %s, %s: %s",
                name,
                promotion.export,
                outcome,
                _format_error(error),
            )
            return None
        except Exception as error:
            # An error of the store or of this machine; the next poll may succeed.
            return f"{name}: {_format_error(error)}"
        self._set_model(name, model)
        self._set_rejected(name, None)
        self._metrics.promotions.labels(name, "loaded").inc()
        log.info(
            "%s: loaded version %s (run %s, epoch %d) in %.1f s; its examples differ by %.2f of "
            "255 gray levels",
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
        """Log an error of the store when it first occurs, and when it is over."""
        if error_message != self._last_error:
            if error_message is None:
                log.info("The store can be read again")
            else:
                log.warning(
                    "Reading the promotions failed; loaded models stay, retrying in %g s: %s",
                    self._poll_interval,
                    error_message,
                )
        self._last_error = error_message


def _labels(model: LoadedModel) -> tuple[str, str, str, str]:
    promotion = model.promotion
    return model.name, promotion.export, promotion.run, str(promotion.epoch)


def _format_error(error: Exception) -> str:
    return str(error) if isinstance(error, IcanvasError) else f"{type(error).__name__}: {error}"
