"""What runs the network: one small protocol, one module an engine."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from errors import InputError
from hed.engines.opencv import OpenCVEngine
from hed.weights import Weights


class Engine(Protocol):
    """A callable that is safe to share between threads."""

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map float32 (N, 3, H, W), BGR minus the mean, to probabilities float32 (N, H, W).

        H and W are multiples of 16, at least 32.
        """
        ...


_ENGINES = {"opencv": OpenCVEngine}


def create_engine(name: str, weights: Weights) -> Engine:
    """Return the named engine with these weights.

    Raises
    ------
    InputError
        If there is no engine of that name.
    """
    if name not in _ENGINES:
        raise InputError(f"No HED engine {name!r}. Choose one of: {', '.join(_ENGINES)}.")
    return _ENGINES[name](weights)
