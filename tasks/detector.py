"""The process's one detector: networks are large, and the cores are there once."""

from functools import lru_cache
from pathlib import Path

from errors import InputError
from hed import EdgeDetector
from settings import get_settings
from tasks.plan import PairPlan


def detector(border: int) -> EdgeDetector:
    """Return the detector that the settings ask for."""
    settings = get_settings()
    return _load(settings.engine, settings.weights, border, settings.workers, settings.precision)


def detector_for(plan: PairPlan) -> EdgeDetector:
    """Return the detector, if it has the weights that the plan names.

    Raises
    ------
    InputError
        If this machine is set to other weights than the one that made the plan.
    """
    hed = detector(plan.dataset.edges.border)
    if weights_name(hed) != plan.weights:
        raise InputError(
            f"This machine's HED weights are {weights_name(hed)}, the pair set's are "
            f"{plan.weights}. Set ICANVAS_WEIGHTS to the same file on every machine."
        )
    return hed


def weights_name(hed: EdgeDetector) -> str:
    """Return form and digest of a detector's weights, as a pair set's settings hold them."""
    return f"{hed.weights.form}:{hed.weights.digest}"


@lru_cache(maxsize=4)
def _load(
    engine: str, weights: Path | None, border: int, workers: int | None, precision: str
) -> EdgeDetector:
    return EdgeDetector.load(engine, weights, border, workers, precision)
