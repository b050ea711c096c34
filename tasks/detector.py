"""The process's one engine: networks are large, and the cores are there once."""

import threading
from functools import lru_cache
from pathlib import Path

from config.errors import InputError
from config.settings import get_settings
from hed import EdgeDetector, Weights, load_weights
from hed.engines import Engine, create_engine
from tasks.cpu_budget import own_cores
from tasks.pair_set_plan import PairPlan

_starting = threading.Lock()


def detector(border: int) -> EdgeDetector:
    """Return a detector as the settings ask for; all of a process share one engine."""
    settings = get_settings()
    # The first shards ask at the same time, and a cache alone would start an engine for each.
    with _starting:
        weights = load(settings.weights)
        engine = _start(
            *(settings.engine, settings.weights, settings.workers),
            *(settings.precision, own_cores()),
        )
    return EdgeDetector(engine, weights, border)


def detector_for(plan: PairPlan) -> EdgeDetector:
    """Return the detector, if it has the weights that the plan names.

    Raises
    ------
    InputError
        If this machine is set to other weights than the one that made the plan.
    """
    hed = detector(plan.dataset.edges.border)
    if weights_name(hed.weights) != plan.weights:
        raise InputError(
            f"This machine's HED weights are {weights_name(hed.weights)}, the pair set's are "
            f"{plan.weights}. Set ICANVAS_WEIGHTS to the same file on every machine."
        )
    return hed


def weights_name(weights: Weights) -> str:
    """Return form and digest of weights, as a pair set's settings hold them."""
    return f"{weights.form}:{weights.digest}"


@lru_cache(maxsize=2)
def load(weights: Path | None) -> Weights:
    """Return the weights of a file, the default ones for None; see ``hed.load_weights``."""
    return load_weights(weights)


@lru_cache(maxsize=2)
def _start(
    engine: str, weights: Path | None, workers: int | None, precision: str, cores: int
) -> Engine:
    return create_engine(engine, load(weights), workers, precision, cores)
