"""Contact sheets and sample grids: several pictures in one."""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

_GAP = 4
# Gray, so that the borders of white pictures are visible.
_BACKGROUND = 224
_SAMPLING_FLAGS = {
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}


def make_contact_sheet(pictures: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Arrange pictures of one size in rows, separated by a small gray gap.

    Parameters
    ----------
    pictures : sequence of ndarray, uint8, H×W×3, RGB
        At least one; all of the same shape.
    columns : int, at least 1
        Pictures per row; reduced to the number of pictures.

    Returns
    -------
    ndarray
        uint8 RGB.

    Examples
    --------
    >>> make_contact_sheet([np.zeros((10, 20, 3), np.uint8)] * 3, columns=2).shape
    (32, 52, 3)
    """
    height, width = pictures[0].shape[:2]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = np.full(
        (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3),
        _BACKGROUND,
        np.uint8,
    )
    for index, picture in enumerate(pictures):
        top = _GAP + (index // columns) * (height + _GAP)
        left = _GAP + (index % columns) * (width + _GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def encode_jpeg(
    image: NDArray[np.uint8], quality: int, subsampling: Literal["4:2:0", "4:4:4"] = "4:2:0"
) -> bytes:
    """Return an image as JPEG bytes.

    Parameters
    ----------
    image : ndarray, uint8, H×W×3, RGB
    quality : int, 0 to 100
    subsampling : {"4:2:0", "4:4:4"}
        ``4:2:0`` stores the color of one pixel in four, ``4:4:4`` of every pixel.

    Returns
    -------
    bytes
    """
    options = [*(cv2.IMWRITE_JPEG_QUALITY, quality), cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
    options.append(_SAMPLING_FLAGS[subsampling])
    success, data = cv2.imencode(".jpg", image[..., ::-1], options)
    assert success, "OpenCV failed to encode a JPEG"
    return data.tobytes()
