"""Fitting of pictures of any shape to a square."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

FitMode = Literal["cover", "contain", "stretch"]
UpscaleFilter = Literal["bicubic", "nearest"]
Color = tuple[int, int, int]

_RESOLUTION_STEP = 128
_DOWNSCALE_FILTER = Image.Resampling.LANCZOS
_UPSCALE_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}


def fit_picture(
    picture: NDArray[np.uint8], size: int, mode: FitMode, upscale: UpscaleFilter = "bicubic"
) -> NDArray[np.uint8]:
    """Scale a picture to a square. Scaling down uses an antialiasing Lanczos filter.

    Parameters
    ----------
    picture : ndarray, uint8, H×W×3, RGB
    size : int, pixels
        Side of the square.
    mode : {"cover", "contain", "stretch"}
        ``cover`` fills the square and crops the longer side around its middle; ``contain`` keeps
        the whole picture and makes its longer side ``size``; ``stretch`` changes the aspect ratio.
    upscale : {"bicubic", "nearest"}
        Filter for scaling up; ``nearest`` keeps the hard pixels of sprites.

    Returns
    -------
    ndarray
        uint8 h×w×3 RGB. h and w equal ``size``, except in mode ``contain``, where the longer one
        does. A picture that already has this size is returned unchanged.

    Examples
    --------
    >>> picture = np.zeros((600, 800, 3), np.uint8)
    >>> fit_picture(picture, 256, "cover").shape
    (256, 256, 3)
    >>> fit_picture(picture, 256, "contain").shape
    (192, 256, 3)
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
    is_upscaled = target[0] >= box[2] - box[0] and target[1] >= box[3] - box[1]
    image = Image.fromarray(picture)
    return np.asarray(
        image.resize(
            target, _UPSCALE_FILTERS[upscale] if is_upscaled else _DOWNSCALE_FILTER, box=box
        )
    )


def edge_resolution(height: int, width: int, size: int, mode: FitMode, max_scale: int) -> int:
    """Return the side of the largest square that a picture fills without being enlarged.

    The result is a multiple of 128 px or ``size``, because each size needs its own network.

    Parameters
    ----------
    height, width : int, pixels
        Size of the picture.
    size : int, pixels
        Smallest result.
    mode : {"cover", "contain", "stretch"}
        See ``fit_picture``.
    max_scale : int, at least 1
        The result is at most this multiple of ``size``.

    Returns
    -------
    int
        Pixels.

    Examples
    --------
    >>> edge_resolution(600, 1024, 256, "cover", max_scale=4)
    512
    >>> edge_resolution(600, 1024, 256, "contain", max_scale=4)
    1024
    """
    filled_size = max(height, width) if mode == "contain" else min(height, width)
    return max(size, min(max_scale * size, filled_size // _RESOLUTION_STEP * _RESOLUTION_STEP))


def downscale_edges(edges: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Scale an edge map down by averaging over areas.

    Parameters
    ----------
    edges : ndarray, float32, H×W in [0, 1]
    height, width : int, pixels
        Size of the result.

    Returns
    -------
    ndarray
        float32 height×width in [0, 1].
    """
    if edges.shape == (height, width):
        return edges
    downscaled = cv2.resize(edges, (width, height), interpolation=cv2.INTER_AREA)
    # Rounding can make an average slightly larger than 1.
    return np.clip(np.asarray(downscaled, np.float32), 0, 1)


def pad_to_square(
    image: NDArray[np.uint8], size: int, background: Color | int
) -> NDArray[np.uint8]:
    """Center an image in a square.

    Drawings are padded after edge detection, so that the picture's border never becomes a line.

    Parameters
    ----------
    image : ndarray, uint8, h×w drawing or h×w×3 RGB picture
        h and w are at most ``size``.
    size : int, pixels
        Side of the square.
    background : int or tuple of three ints, 0 to 255
        Gray value for a drawing, RGB color for a picture.

    Returns
    -------
    ndarray
        uint8 size×size or size×size×3; the image itself if it already has this size.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    square = np.empty((size, size, *image.shape[2:]), np.uint8)
    square[:] = background
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = image
    return square
