"""Pictures of any size to edge maps of the same size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from errors import InputError
from hed.engines import Engine, create_engine
from hed.graph import SMALLEST, STRIDE
from hed.weights import Weights, load_weights

# HED sees 196 px around a pixel; 96 px of border give the result of the original's 128 px
# (0.9997 F1 at 1 px) at 77 % of its cost for 256x256 pictures.
DEFAULT_BORDER = 96

_MEAN_BGR = np.array([104.00698793, 116.66876762, 122.67891434], np.float32)


class EdgeDetector:
    """HED with weights and an engine; may be shared between threads.

    Attributes
    ----------
    weights : what it runs with; ``weights.threshold`` is the edge threshold that goes with it.
    border : reflected pixels added on each side before, and cut off after, the network.
    """

    def __init__(self, engine: Engine, weights: Weights, border: int = DEFAULT_BORDER) -> None:
        if border < 0:
            raise InputError(f"The border must be 0 px or more, got {border}.")
        self.weights = weights
        self.border = border
        self._engine = engine

    @classmethod
    def load(
        cls,
        engine: str = "opencv",
        weights: str | Path | None = None,
        border: int = DEFAULT_BORDER,
    ) -> "EdgeDetector":
        """Return a detector, fetching the default weights on first use.

        Parameters
        ----------
        engine : name of the engine.
        weights : path of a weights file (Keras HDF5), or None for the default ones.
        border : pixels of reflected border, 0 or more.

        Raises
        ------
        InputError
            If the engine is unknown, the file is not HED's weights, or the border is negative.
        SourceError, IntegrityError
            If the default weights cannot be fetched or fail their check.
        """
        table = load_weights(None if weights is None else Path(weights))
        return cls(create_engine(engine, table), table, border)

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Return the edge probability of every pixel.

        Parameters
        ----------
        pictures : uint8 H×W×3 RGB arrays, of equal or different sizes.

        Returns
        -------
        list of ndarray
            float32 H×W in [0, 1], in the order of ``pictures``.

        Raises
        ------
        InputError
            If an array is not a uint8 RGB picture with at least one pixel.
        """
        for index, picture in enumerate(pictures):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise InputError(
                    f"Picture {index} must be uint8 H×W×3 (RGB), got {picture.dtype} "
                    f"{'×'.join(map(str, picture.shape))}."
                )
            if picture.size == 0:
                raise InputError(f"Picture {index} has no pixels.")
        return [self._detect_one(picture) for picture in pictures]

    def _detect_one(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = picture.shape[:2]
        pads = [self._pad(side) for side in (height, width)]
        padded = np.pad(picture, [*pads, (0, 0)], mode="reflect")
        batch = (padded[..., ::-1].astype(np.float32) - _MEAN_BGR).transpose(2, 0, 1)[np.newaxis]
        edges = self._engine(np.ascontiguousarray(batch))[0]
        top, left = pads[0][0], pads[1][0]
        return np.ascontiguousarray(edges[top : top + height, left : left + width])

    def _pad(self, side: int) -> tuple[int, int]:
        """Return the pixels to add before and after: the border, up to a size the graph takes."""
        bordered = side + 2 * self.border
        whole = max(SMALLEST, bordered + -bordered % STRIDE)
        return self.border, whole - side - self.border
