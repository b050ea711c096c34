"""Pictures in, edge probabilities out: HED, holistically-nested edge detection."""

from hed.detector import DEFAULT_BORDER, EdgeDetector
from hed.weights import Weights, fetch_default_weights, load_weights

__all__ = [
    "DEFAULT_BORDER",
    "EdgeDetector",
    "Weights",
    "fetch_default_weights",
    "load_weights",
]
