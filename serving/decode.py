"""Decoding of request bodies to drawings. Bodies are untrusted: all limits are checked first."""

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

# ``decode_picture`` checks the size itself; Pillow's limit would warn, or raise on opening.
Image.MAX_IMAGE_PIXELS = None
# Pillow warns about invalid tags and truncated files; where they matter, decoding fails below.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Image8 = NDArray[np.uint8]

STROKES_TYPE = "application/json"
# Pillow's format name by content type.
_PILLOW_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
CONTENT_TYPES = (*_PILLOW_FORMATS, STROKES_TYPE)

# Pixels; larger pictures are downscaled, JPEG files already while they are decoded.
_MAX_SIDE = 1024
# Decoding a progressive JPEG costs a pass over all pixels for each scan; encoders write about ten.
_MAX_JPEG_SCANS = 100
_JPEG_SCAN_MARKER = b"\xff\xda"
# Least number of line pixels, as a fraction of the side. The generator turns fewer into noise.
_MIN_LINE_FRACTION = 0.25


def decode_drawing(
    body: bytes, content_type: str, *, normalize: bool, extent: float, side: int, max_pixels: int
) -> Image8:
    """Decode a request body to a generator's input.

    Parameters
    ----------
    body : bytes
        A PNG, JPEG or WebP file, or strokes as JSON.
    content_type : str
        One of ``CONTENT_TYPES``; the body must be of this type.
    normalize : bool
        Whether to extract, thin, center and scale the lines, as ``normalize_sketch`` does.
        Otherwise the picture is padded to a square and its lines stay as they are.
    extent : float
        Fraction of the side that the longer side of the normalized drawing takes, in (0, 1].
    side : int
        Side of the result in pixels.
    max_pixels : int
        Largest width × height of a picture, checked before it is decoded.

    Returns
    -------
    ndarray
        uint8 side×side, 0 on lines and 255 elsewhere.

    Raises
    ------
    ApiError
        ``wrong_type``, ``too_large``, ``unreadable``, ``invalid``, or ``empty`` if there are
        hardly any lines.
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
    """Decode a picture file, with its EXIF rotation applied. Of an animation, decode frame 0.

    Parameters
    ----------
    body : bytes
        The file.
    content_type : str
        ``image/png``, ``image/jpeg`` or ``image/webp``.
    max_pixels : int
        Largest width × height.

    Returns
    -------
    ndarray
        uint8 H×W gray, H×W×3 RGB or H×W×4 RGBA.

    Raises
    ------
    ApiError
        ``wrong_type`` if the file has another type, ``too_large`` if it has more pixels,
        ``unreadable`` if it is damaged.
    """
    detected_type = detect_content_type(body)
    if detected_type != content_type:
        raise ApiError(
            "wrong_type",
            f"The content type is {content_type}, but the body is "
            f"{detected_type or 'no supported picture'}.",
        )
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
    # Damaged or hostile files make decoders raise errors of many types.
    except Exception as error:
        raise ApiError("unreadable") from error


def detect_content_type(body: bytes) -> str | None:
    """Return the content type of a file by its first bytes; None for unsupported types."""
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if body.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return "image/webp"
    return None


def _to_uint8(image: Image.Image) -> Image8:
    """Convert an image of any mode to uint8 gray (H×W), RGB (H×W×3) or RGBA (H×W×4)."""
    if image.mode.startswith("I"):
        # 16-bit gray; Pillow already converts 16-bit colors to 8 bits.
        values = np.asarray(image)
        gray = (values.clip(0, 65_535) // 257).astype(np.uint8)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            gray[values == transparent] = 255
        return gray
    if image.mode == "RGB" and isinstance(image.info.get("transparency"), tuple):
        # The transparent color may still have 16 bits.
        image.info["transparency"] = tuple(
            value >> 8 if max(image.info["transparency"]) > 255 else value
            for value in image.info["transparency"]
        )
    if image.has_transparency_data:
        return np.asarray(image.convert("RGBA"))
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def _pad_to_square(picture: Image8) -> Image8:
    """Convert a picture to gray on white and pad it to a square: uint8 H×H."""
    height, width = picture.shape[:2]
    scale = min(1.0, _MAX_SIDE / max(height, width))
    if scale < 1:
        # Downscale first: the steps below use several times the memory.
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
