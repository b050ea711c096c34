"""A request's body to a drawing; nothing of it is believed before it is looked at."""

import io
import warnings

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from model.data.dataset import scale_drawing
from postprocess import normalize_sketch
from serving.errors import ApiError
from serving.strokes import parse_strokes, render_strokes

# The limit is checked below, from the header; Pillow's own would only warn, or raise on opening.
Image.MAX_IMAGE_PIXELS = None
# What Pillow warns of (odd tags, a cut file) is refused where it matters.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Image8 = NDArray[np.uint8]

STROKES_TYPE = "application/json"
# Pillow's names of what is taken, by content type.
_PILLOW_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
CONTENT_TYPES = (*_PILLOW_FORMATS, STROKES_TYPE)

# Sides that more of a photo is not needed for: a JPEG is decoded smaller from the start.
_MAX_SIDE = 1024
# Every scan of a progressive JPEG is a pass over all of its pixels; programs write about ten.
_MAX_JPEG_SCANS = 100
_JPEG_SCAN_MARKER = b"\xff\xda"
# A line across this share of the sheet is a drawing; of next to nothing noise is made.
_MIN_LINE_FRACTION = 0.25


def decode_drawing(
    body: bytes, content_type: str, *, normalize: bool, extent: float, side: int, max_pixels: int
) -> Image8:
    """Return a body's drawing as a generator's conditions are.

    Parameters
    ----------
    body : a picture, or strokes as JSON.
    content_type : one of ``CONTENT_TYPES``; what the body is must be the same.
    normalise : whether what is drawn is found, thinned, centred and scaled; else the sheet is
        taken as it is.
    extent : share of the side that what is drawn takes then; see ``normalize_sketch``.
    side : of the result.
    max_pixels : largest width × height of a picture, looked at before it is decoded.

    Returns
    -------
    ndarray
        uint8 side×side, 0 on lines.

    Raises
    ------
    Refusal
        ``wrong_type``, ``too_large``, ``unreadable``, ``invalid``, or ``empty`` where next to
        nothing is drawn.
    """
    if content_type == STROKES_TYPE:
        drawing = render_strokes(parse_strokes(body), extent if normalize else None)
    else:
        picture = decode_picture(body, content_type, max_pixels)
        drawing = normalize_sketch(picture, extent=extent) if normalize else _pad_to_square(picture)
    if np.count_nonzero(drawing < 128) < _MIN_LINE_FRACTION * len(drawing):
        raise ApiError("empty")
    return scale_drawing(drawing, side)


def decode_picture(body: bytes, content_type: str, max_pixels: int) -> Image8:
    """Decode a picture file whole: upright, and of an animation the first frame.

    Returns
    -------
    ndarray
        uint8 H×W grey, H×W×3 RGB or H×W×4 RGBA.

    Raises
    ------
    Refusal
        ``wrong_type`` if it is of another type, ``too_large`` if it has more pixels,
        ``unreadable`` if it is damaged.
    """
    detected_type = detect_content_type(body)
    if detected_type != content_type:
        raise ApiError("wrong_type", f"This says {content_type}, but it is {detected_type or 'none'}.")
    if content_type == "image/jpeg" and body.count(_JPEG_SCAN_MARKER) > _MAX_JPEG_SCANS:
        raise ApiError("unreadable")
    try:
        with Image.open(io.BytesIO(body), formats=[_PILLOW_FORMATS[content_type]]) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ApiError(
                    "too_large",
                    f"{width}×{height} pixels are too many: send at most {max_pixels / 1e6:g} "
                    "million.",
                )
            if image.format == "JPEG":
                image.draft(None, (_MAX_SIDE, _MAX_SIDE))
            image.load()
            return _to_uint8(ImageOps.exif_transpose(image))
    except ApiError:
        raise
    # A damaged or hostile file can make a decoder raise anything at all.
    except Exception as error:
        raise ApiError("unreadable") from error


def detect_content_type(body: bytes) -> str | None:
    """Return the content type of a file by its first bytes; None for what is not taken."""
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if body.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "image/webp"
    return None


def _to_uint8(image: Image.Image) -> Image8:
    """Turn any mode into grey, RGB or RGBA of 8 bits."""
    if image.mode.startswith("I"):
        # Grey of 16 bits; Pillow gives colours of 16 bits as 8.
        values = np.asarray(image)
        gray = (values.clip(0, 65_535) // 257).astype(np.uint8)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            gray[values == transparent] = 255
        return gray
    if image.mode == "RGB" and isinstance(image.info.get("transparency"), tuple):
        # Of 16 bits it is, where the picture has 8 by now.
        image.info["transparency"] = tuple(
            value >> 8 if max(image.info["transparency"]) > 255 else value
            for value in image.info["transparency"]
        )
    if image.has_transparency_data:
        return np.asarray(image.convert("RGBA"))
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def _pad_to_square(picture: Image8) -> Image8:
    """Put a sheet in the middle of a white square; grey, on white."""
    height, width = picture.shape[:2]
    scale = min(1.0, _MAX_SIDE / max(height, width))
    if scale < 1:
        # First: all that follows takes many times the room.
        size = max(1, round(width * scale)), max(1, round(height * scale))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    if picture.ndim == 3 and picture.shape[2] == 4:
        opacity = picture[..., 3:].astype(np.float32) / 255
        picture = (picture[..., :3] * opacity + 255 * (1 - opacity)).round().astype(np.uint8)
    gray = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    height, width = gray.shape
    longest = max(height, width)
    square = np.full((longest, longest), 255, np.uint8)
    top, left = (longest - height) // 2, (longest - width) // 2
    square[top : top + height, left : left + width] = gray
    return square
