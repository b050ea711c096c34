"""The pair format of pix2pix: one image, the line drawing on the left, the picture on the right."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import IntegrityError

# Side of the drawing in a published pair.
DrawingSide = Literal["left", "right"]

# Height of a pair and width of each half, in pixels.
PAIR_SIZE = 256

# Lossless, because a drawing is exact. The filter UP with run-length encoding takes half the time
# of zlib's fastest level and gives the same size (docs/decisions.md).
_PNG_OPTIONS = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
]

# A published drawing differs from a photo in that it is nearly gray and mostly white.
_GRAY_TOLERANCE = 12
_MIN_WHITE_SHARE = 0.5
# Photos of dark objects on white may qualify too. The mean distance of pixels from pure black and
# white separates them: in published pairs of shoes it is 0.1 to 4 levels in drawings, 12 to 37 in
# photos.
_MIN_DISTANCE_RATIO = 2


def join_pair(drawing: NDArray[np.uint8], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put a drawing to the left of its picture.

    Parameters
    ----------
    drawing : ndarray, uint8, H×W
    picture : ndarray, uint8, H×W×3, RGB

    Returns
    -------
    ndarray
        uint8 H×2W×3 RGB.
    """
    return np.hstack([np.repeat(drawing[..., np.newaxis], 3, axis=2), picture])


def split_pair(
    pair: NDArray[np.uint8], drawing_side: DrawingSide = "left"
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Split a pair into drawing and picture.

    Parameters
    ----------
    pair : ndarray, uint8, H×2W×3, RGB
        Made by ``join_pair``, or as published.
    drawing_side : {"left", "right"}
        The side of the drawing.

    Returns
    -------
    drawing, picture : ndarray, ndarray
        uint8 H×W with the values 0 and 255, and uint8 H×W×3 RGB.
    """
    middle = pair.shape[1] // 2
    halves = pair[:, :middle], pair[:, middle:]
    lines, picture = halves if drawing_side == "left" else halves[::-1]
    # Published pairs are JPEGs: the threshold removes the ringing around lines. It does not change
    # our own drawings.
    dark = _sum_channels(lines) < 3 * 128
    return np.where(dark, np.uint8(0), np.uint8(255)), picture


def detect_drawing_sides(image: NDArray[np.uint8]) -> frozenset[DrawingSide]:
    """Return which halves of an image can be the drawing of a pair.

    Parameters
    ----------
    image : ndarray, uint8, H×W×3, RGB

    Returns
    -------
    frozenset of {"left", "right"}
        Empty if the image is not twice as wide as high, or if neither half is nearly gray and
        mostly white. Both sides if both halves qualify and neither is clearly closer to pure black
        and white: this pair alone is ambiguous.
    """
    height, width = image.shape[:2]
    if width != 2 * height:
        return frozenset()
    distances: dict[DrawingSide, float] = {}
    halves: tuple[tuple[DrawingSide, NDArray[np.uint8]], ...] = (
        ("left", image[:, :height]),
        ("right", image[:, height:]),
    )
    for side, half in halves:
        red, green, blue = cv2.split(half)
        highest, lowest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
        light = _sum_channels(half)
        if (
            np.mean(highest - lowest) <= _GRAY_TOLERANCE
            and np.mean(light > 600) >= _MIN_WHITE_SHARE
        ):
            distances[side] = float(np.mean(np.minimum(light, 765 - light)))
    nearest = min(distances.values(), default=0.0)
    return frozenset(
        side for side, distance in distances.items() if distance <= _MIN_DISTANCE_RATIO * nearest
    )


def edge_density(drawing: NDArray[np.uint8]) -> float:
    """Return the share of line pixels in a drawing, in [0, 1].

    Parameters
    ----------
    drawing : ndarray, uint8, H×W
        0 on lines.

    Examples
    --------
    >>> drawing = np.full((10, 10), 255, np.uint8)
    >>> drawing[0] = 0
    >>> edge_density(drawing)
    0.1
    """
    return float(np.mean(drawing == 0))


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return an image as PNG bytes, without loss.

    Parameters
    ----------
    image : ndarray, uint8, H×W×3 RGB, or H×W gray

    Returns
    -------
    bytes
    """
    channels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    success, data = cv2.imencode(".png", channels, _PNG_OPTIONS)
    assert success, "OpenCV failed to encode a PNG"
    return data.tobytes()


def decode_pair(data: bytes) -> NDArray[np.uint8]:
    """Decode a stored pair: a PNG of ours, or a published file.

    Transparency and CMYK colors of published files are ignored: ``tasks.make_pairs`` rejects files
    in which they matter.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    ndarray
        uint8 H×2W×3 RGB.

    Raises
    ------
    IntegrityError
        If the bytes are not a complete image.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    if image is None:
        raise IntegrityError("A stored pair cannot be decoded. Run `icanvas prepare --force`.")
    return image.astype(np.uint8, copy=False)


def _sum_channels(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the sum of the channels, 0 to 765; faster than NumPy's ``sum`` over the last axis."""
    return image[..., 0].astype(np.uint16) + image[..., 1] + image[..., 2]
