"""Many pictures on one: contact sheets and sample grids."""

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

_GAP = 4
# Grey, so that white pictures keep their borders.
_GROUND = 224
_CHROMA = {
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}


def make_sheet(pictures: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Lay pictures of one size out in rows, with a small grey gap.

    Parameters
    ----------
    pictures : at least one uint8 H×W×3 RGB array, all of one shape.
    columns : pictures in a row, at least 1; fewer where there are fewer pictures.

    Returns
    -------
    ndarray
        uint8 RGB.
    """
    height, width = pictures[0].shape[:2]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = np.full(
        (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3),
        _GROUND,
        np.uint8,
    )
    for index, picture in enumerate(pictures):
        top = _GAP + (index // columns) * (height + _GAP)
        left = _GAP + (index % columns) * (width + _GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def encode_jpeg(
    image: NDArray[np.uint8], quality: int, chroma: Literal["4:2:0", "4:4:4"] = "4:2:0"
) -> bytes:
    """Return an image as JPEG bytes.

    Parameters
    ----------
    image : uint8 H×W×3 RGB.
    quality : 0 to 100.
    chroma : ``4:2:0`` keeps every fourth pixel's colour, ``4:4:4`` that of each.
    """
    options = [*(cv2.IMWRITE_JPEG_QUALITY, quality), cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
    options.append(_CHROMA[chroma])
    done, data = cv2.imencode(".jpg", image[..., ::-1], options)
    assert done, "OpenCV encodes any uint8 H×W×3 array as JPEG"
    return data.tobytes()
