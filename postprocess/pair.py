"""The pair format: one picture, line drawing on the left, photo on the right, as pix2pix has it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from errors import IntegrityError

# Height of a pair and width of each half, in pixels.
PAIR_SIZE = 256

# Lossless, because a drawing is exact. Differences to the row above and no more than their runs:
# half the time of zlib's quickest level at the same size (docs/decisions.md).
_PNG = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
]

# How a published drawing half is told from a photo: nearly grey, and most of it white.
_GREY_TOLERANCE = 12
_MOSTLY_WHITE = 0.5


def join_pair(drawing: NDArray[np.uint8], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put a drawing (uint8 H×W) left of its picture (uint8 H×W×3): uint8 H×2W×3 RGB."""
    return np.hstack([np.repeat(drawing[..., np.newaxis], 3, axis=2), picture])


def split_pair(pair: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Undo ``join_pair``: uint8 H×2W×3 to the drawing (H×W) and the picture (H×W×3)."""
    middle = pair.shape[1] // 2
    return pair[:, :middle, 0], pair[:, middle:]


def recognise_pair(
    image: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """Read an image that is a pair already.

    Parameters
    ----------
    image : uint8 H×W×3 RGB.

    Returns
    -------
    (drawing, picture) or None
        The drawing as uint8 H×H with values 0 and 255 and the picture as uint8 H×H×3; None when
        the image is not twice as wide as high, or its left half is not nearly grey and mostly
        white.
    """
    height, width = image.shape[:2]
    if width != 2 * height:
        return None
    left = image[:, :height].astype(np.int16)
    spread = float(np.mean(left.max(axis=2) - left.min(axis=2)))
    grey = left.mean(axis=2)
    if spread > _GREY_TOLERANCE or np.mean(grey > 200) < _MOSTLY_WHITE:
        return None
    # The published pairs are JPEGs: thresholding takes the ringing off the lines.
    return np.where(grey < 128, np.uint8(0), np.uint8(255)), image[:, height:]


def edge_density(drawing: NDArray[np.uint8]) -> float:
    """Return the share of line pixels (value 0) in a drawing, in [0, 1]."""
    return float(np.mean(drawing == 0))


def encode_pair(pair: NDArray[np.uint8]) -> bytes:
    """Return a pair (uint8 H×2W×3 RGB) as PNG bytes, losing nothing."""
    done, data = cv2.imencode(".png", cv2.cvtColor(pair, cv2.COLOR_RGB2BGR), _PNG)
    assert done, "OpenCV encodes any uint8 H×W×3 array as PNG"
    return data.tobytes()


def decode_pair(data: bytes) -> NDArray[np.uint8]:
    """Return the uint8 H×2W×3 RGB pair of PNG bytes.

    Raises
    ------
    IntegrityError
        If the bytes are not a complete picture.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise IntegrityError("A stored pair cannot be decoded. Run `icanvas prepare --refresh`.")
    return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8, copy=False)
