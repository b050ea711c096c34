"""HED detectors. All detectors of a process share one engine, which limits memory and CPU use."""

import threading
from functools import lru_cache
from pathlib import Path

from config.errors import InputError
from config.settings import get_settings
from hed import EdgeDetector, HedWeights, load_weights
from hed.engines import HedEngine, create_engine
from tasks.cpu_budget import get_cpu_budget
from tasks.pair_set_plan import PairSetPlan

_engine_lock = threading.Lock()


def get_detector(border: int) -> EdgeDetector:
    """Return a detector that uses the engine and the weights from the settings.

    All detectors of a process share one engine. This function is thread-safe.

    Parameters
    ----------
    border : int
        Width of the reflected border around each picture, in pixels.

    Returns
    -------
    EdgeDetector
        The detector.

    Raises
    ------
    InputError
        If the engine or the weights of the settings are not usable.
    IntegrityError
        If the cached default weights do not match the pinned checksum.
    SourceError
        If the default weights cannot be downloaded.
    StorageError
        If the default weights cannot be stored.
    """
    settings = get_settings()
    # lru_cache does not lock, so shards that start together would each create an engine.
    with _engine_lock:
        weights = load_cached_weights(settings.weights)
        engine = _create_cached_engine(
            settings.engine,
            settings.weights,
            settings.workers,
            settings.precision,
            get_cpu_budget(),
        )
    return EdgeDetector(engine, weights, border)


def get_plan_detector(plan: PairSetPlan) -> EdgeDetector:
    """Return the detector for a pair set.

    Parameters
    ----------
    plan : PairSetPlan
        Plan that specifies the border and the weights.

    Returns
    -------
    EdgeDetector
        The detector.

    Raises
    ------
    InputError
        If the weights in this machine's settings differ from the weights of the plan.
    """
    hed = get_detector(plan.dataset.edges.border)
    if format_weights_id(hed.weights) != plan.weights:
        raise InputError(
            f"This machine's HED weights are {format_weights_id(hed.weights)}, but the pair set "
            f"needs {plan.weights}. Set ICANVAS_WEIGHTS to the same file on every machine."
        )
    return hed


def format_weights_id(weights: HedWeights) -> str:
    """Return the identifier of weights that the settings of a pair set contain.

    Parameters
    ----------
    weights : HedWeights
        Weights to identify.

    Returns
    -------
    str
        Format and digest, for example ``keras:4502…``.
    """
    return f"{weights.format}:{weights.digest}"


@lru_cache(maxsize=2)
def load_cached_weights(weights: Path | None) -> HedWeights:
    """Load HED weights once per process; see ``hed.load_weights``.

    Parameters
    ----------
    weights : Path or None
        Path of the weights file; None for the default weights.

    Returns
    -------
    HedWeights
        The weights.

    Raises
    ------
    InputError
        If the file is missing, corrupt, of an unknown format, or does not contain HED.
    IntegrityError
        If the cached default weights do not match the pinned checksum.
    SourceError
        If the default weights cannot be downloaded.
    StorageError
        If the default weights cannot be stored.
    """
    return load_weights(weights)


@lru_cache(maxsize=2)
def _create_cached_engine(
    engine: str, weights: Path | None, workers: int | None, precision: str, cores: int
) -> HedEngine:
    return create_engine(engine, load_cached_weights(weights), workers, precision, cores)
