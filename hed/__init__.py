"""HED (holistically-nested edge detection): pictures to edge probabilities."""

from hed.crop_plan import BORDER
from hed.detector import EdgeDetector
from hed.engines import choose_engine
from hed.weights import HedWeights, fetch_default_weights, load_weights

__all__ = [
    "BORDER",
    "EdgeDetector",
    "HedWeights",
    "choose_engine",
    "fetch_default_weights",
    "load_weights",
]
