"""A picture of any shape onto a square canvas."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FitMode = Literal["cover", "contain", "stretch"]
Colour = tuple[int, int, int]


def fit_picture(picture: NDArray[np.uint8], size: int, mode: FitMode) -> NDArray[np.uint8]:
    """Scale a picture to a square's size with an antialiasing Lanczos filter.

    Parameters
    ----------
    picture : uint8 H×W×3 RGB.
    size : side of the square in pixels.
    mode : ``cover`` fills the square and crops the rest around the middle; ``contain`` keeps all
        of the picture, its longer side as long as the square's; ``stretch`` changes the aspect
        ratio.

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
    image = Image.fromarray(picture)
    return np.asarray(image.resize(target, Image.Resampling.LANCZOS, box=box))


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
