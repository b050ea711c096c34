"""A picture of any shape onto a square canvas."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

FitMode = Literal["cover", "contain", "stretch"]
Enlarge = Literal["bicubic", "nearest"]
Colour = tuple[int, int, int]

_DETAIL_STEP = 128
_REDUCE = Image.Resampling.LANCZOS
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}


def fit_picture(
    picture: NDArray[np.uint8], size: int, mode: FitMode, enlarge: Enlarge = "bicubic"
) -> NDArray[np.uint8]:
    """Scale a picture to a square's size: down with an antialiasing Lanczos filter.

    Parameters
    ----------
    picture : uint8 H×W×3 RGB.
    size : side of the square in pixels.
    mode : ``cover`` fills the square and crops the rest around the middle; ``contain`` keeps all
        of the picture, its longer side as long as the square's; ``stretch`` changes the aspect
        ratio.
    enlarge : the filter for scaling up; ``nearest`` keeps the hard pixels of sprites.

    Returns
    -------
    ndarray
        uint8 h×w×3 RGB, size×size unless contained; the picture itself where nothing is to do.
    """
    height, width = picture.shape[:2]
    if (height, width) == (size, size):
        return picture
    target, box = (size, size), (0.0, 0.0, float(width), float(height))
    if mode == "contain":
        scale = size / max(height, width)
        target = (max(1, round(width * scale)), max(1, round(height * scale)))
    elif mode == "cover":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    grows = target[0] >= box[2] - box[0] and target[1] >= box[3] - box[1]
    image = Image.fromarray(picture)
    return np.asarray(image.resize(target, _FILTERS[enlarge] if grows else _REDUCE, box=box))


def detail_side(height: int, width: int, size: int, mode: FitMode, most: int) -> int:
    """Return the side of the largest square that a picture fills without being enlarged.

    In steps of 128 px, as every size needs a network of its own.

    Parameters
    ----------
    height, width : of the picture, in pixels.
    size : the least side to return, in pixels.
    mode : as for ``fit_picture``.
    most : the side returned is at most this many times ``size``, 1 or more.
    """
    filled = max(height, width) if mode == "contain" else min(height, width)
    return max(size, min(most * size, filled // _DETAIL_STEP * _DETAIL_STEP))


def reduce_map(edges: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Scale an edge map (float32 H×W in [0, 1]) down to a size by averaging over areas."""
    if edges.shape == (height, width):
        return edges
    reduced = cv2.resize(edges, (width, height), interpolation=cv2.INTER_AREA)
    # An average of values up to 1 can round to a little more.
    return np.clip(np.asarray(reduced, np.float32), 0, 1)


def centre(image: NDArray[np.uint8], size: int, paper: Colour | int) -> NDArray[np.uint8]:
    """Put what was contained in the middle of its square.

    Drawings are centred after their edges are found, so that the picture's own border never
    becomes a line.

    Parameters
    ----------
    image : uint8 h×w drawing or h×w×3 RGB picture, h and w at most size.
    size : side of the square in pixels.
    paper : what is beside it: a grey value for a drawing, an RGB colour for a picture.

    Returns
    -------
    ndarray
        uint8 size×size(×3); the image itself where it has that size already.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    square = np.empty((size, size, *image.shape[2:]), np.uint8)
    square[:] = paper
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = image
    return square
