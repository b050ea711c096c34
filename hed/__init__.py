"""Pictures in, edge probabilities out: HED, holistically-nested edge detection."""

from hed.crop_plan import BORDER
from hed.detector import EdgeDetector
from hed.engines import choose_engine
from hed.weights import Weights, fetch_default_weights, load_weights

__all__ = [
    "BORDER",
    "EdgeDetector",
    "Weights",
    "choose_engine",
    "fetch_default_weights",
    "load_weights",
]
