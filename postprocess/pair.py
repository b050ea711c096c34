"""The pair format: one picture, line drawing on the left, photo on the right, as pix2pix has it."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import IntegrityError

# Where the drawing is in a pair that was published.
Side = Literal["left", "right"]

# Height of a pair and width of each half, in pixels.
PAIR_SIZE = 256

# Lossless, because a drawing is exact. Differences to the row above and no more than their runs:
# half the time of zlib's quickest level at the same size (docs/decisions.md).
_PNG = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
]

# How a published drawing is told from a photo: nearly grey, and most of it white.
_GREY_TOLERANCE = 12
_MOSTLY_WHITE = 0.5
# Photos of dark things on white are both. How far the half's pixels are from pure black and white
# tells them apart: in published pairs of shoes, drawings are 0.1 to 4 levels away, photos 12 to 37.
_CLEARLY_NEARER = 2


def join_pair(drawing: NDArray[np.uint8], picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put a drawing (uint8 H×W) left of its picture (uint8 H×W×3): uint8 H×2W×3 RGB."""
    return np.hstack([np.repeat(drawing[..., np.newaxis], 3, axis=2), picture])


def split_pair(
    pair: NDArray[np.uint8], drawing: Side = "left"
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Take a pair apart.

    Parameters
    ----------
    pair : uint8 H×2W×3 RGB, from ``join_pair`` or as published.
    drawing : the side that the drawing is on.

    Returns
    -------
    drawing, picture
        uint8 H×W with values 0 and 255, and uint8 H×W×3.
    """
    middle = pair.shape[1] // 2
    halves = pair[:, :middle], pair[:, middle:]
    lines, picture = halves if drawing == "left" else halves[::-1]
    # Published pairs are JPEGs: the threshold takes the ringing off the lines, and leaves a
    # drawing of ours as it is.
    dark = _add_channels(lines) < 3 * 128
    return np.where(dark, np.uint8(0), np.uint8(255)), picture


def drawing_sides(image: NDArray[np.uint8]) -> frozenset[Side]:
    """Tell which half of an image that should be a pair can be its drawing.

    Parameters
    ----------
    image : uint8 H×W×3 RGB.

    Returns
    -------
    frozenset
        Empty where the image is not twice as wide as high, or neither half is nearly grey and
        mostly white. Both sides where both halves are, and neither is clearly nearer to pure black
        and white than the other: then the pair alone does not tell.
    """
    height, width = image.shape[:2]
    if width != 2 * height:
        return frozenset()
    distances: dict[Side, float] = {}
    halves: tuple[tuple[Side, NDArray[np.uint8]], ...] = (
        ("left", image[:, :height]),
        ("right", image[:, height:]),
    )
    for side, half in halves:
        red, green, blue = cv2.split(half)
        highest, lowest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
        light = _add_channels(half)
        if np.mean(highest - lowest) <= _GREY_TOLERANCE and np.mean(light > 600) >= _MOSTLY_WHITE:
            distances[side] = float(np.mean(np.minimum(light, 765 - light)))
    nearest = min(distances.values(), default=0.0)
    return frozenset(
        side for side, distance in distances.items() if distance <= _CLEARLY_NEARER * nearest
    )


def edge_density(drawing: NDArray[np.uint8]) -> float:
    """Return the share of line pixels (value 0) in a drawing, in [0, 1]."""
    return float(np.mean(drawing == 0))


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return a pair or picture (uint8 H×W×3 RGB) or a drawing (H×W) as PNG, losing nothing."""
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, data = cv2.imencode(".png", colours, _PNG)
    assert done, "OpenCV encodes any such array as PNG"
    return data.tobytes()


def decode_pair(data: bytes) -> NDArray[np.uint8]:
    """Return the uint8 H×2W×3 RGB pair of its stored bytes: a PNG of ours, or a published file.

    What a published file holds beside plain pixels (transparency, ink colours) is not looked at:
    ``tasks.make_pairs`` lets no file in that would look another way.

    Raises
    ------
    IntegrityError
        If the bytes are not a complete picture.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    if image is None:
        raise IntegrityError("A stored pair cannot be decoded. Run `icanvas prepare --refresh`.")
    return image.astype(np.uint8, copy=False)


def _add_channels(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return the sum of the channels, 0 to 765; NumPy's own sum over them takes far longer."""
    return image[..., 0].astype(np.uint16) + image[..., 1] + image[..., 2]
