"""Pictures in, edge probabilities out: Holistically-nested Edge Detection (Xie and Tu, ICCV 2015)."""

from hed.detector import DEFAULT_BORDER, EdgeDetector
from hed.weights import Weights, fetch_default_weights, load_weights

__all__ = [
    "DEFAULT_BORDER",
    "EdgeDetector",
    "Weights",
    "fetch_default_weights",
    "load_weights",
]
