"""HED detectors that share one engine per process: networks are large, and so is their CPU use."""

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
    """Return a detector with the engine and weights of the settings.

    All detectors of a process share one engine. Threads may call this at the same time.

    Parameters
    ----------
    border : int
        Width of the reflected border around each picture, in pixels.

    Returns
    -------
    EdgeDetector
    """
    settings = get_settings()
    # lru_cache does not lock: shards that start together would each create an engine.
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
        Names the border and the weights.

    Returns
    -------
    EdgeDetector

    Raises
    ------
    InputError
        If this machine's settings name other weights than the plan.
    """
    hed = get_detector(plan.dataset.edges.border)
    if format_weights_id(hed.weights) != plan.weights:
        raise InputError(
            f"This machine's HED weights are {format_weights_id(hed.weights)}, but the pair set "
            f"needs {plan.weights}. Set ICANVAS_WEIGHTS to the same file on every machine."
        )
    return hed


def format_weights_id(weights: HedWeights) -> str:
    """Return format and digest of weights, as in a pair set's settings.

    Returns
    -------
    str
        For example ``keras:4502…``.
    """
    return f"{weights.format}:{weights.digest}"


@lru_cache(maxsize=2)
def load_cached_weights(weights: Path | None) -> HedWeights:
    """Load HED weights, once per process; see ``hed.load_weights``.

    Parameters
    ----------
    weights : Path or None
        File of the weights; None for the default ones.

    Returns
    -------
    HedWeights
    """
    return load_weights(weights)


@lru_cache(maxsize=2)
def _create_cached_engine(
    engine: str, weights: Path | None, workers: int | None, precision: str, cores: int
) -> HedEngine:
    return create_engine(engine, load_cached_weights(weights), workers, precision, cores)
