"""Any picture file to plain RGB pixels, checked before it is decoded."""

import hashlib
import io
import warnings
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from storage import RejectReason

# The limit is checked below, from the header; Pillow's own would only warn, or raise on opening.
Image.MAX_IMAGE_PIXELS = None

# What Pillow warns of (odd tags, a cut file) comes back as a rejected row where it matters.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

# Raster formats only: EPS, for one, would start another program.
_FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
    "AVIF",
    "JPEG2000",
    "ICO",
)
_PICTURE_SUFFIXES = {
    *(
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".gif",
        ".bmp",
        ".dib",
    ),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".ico"),
    # Not supported, but pictures all the same.
    *(".heic", ".heif", ".psd", ".raw", ".cr2", ".nef", ".arw", ".dng", ".svg", ".eps"),
}

Rgb = tuple[int, int, int]


class RejectedPicture(Exception):
    """A file that gives no usable pixels.

    Attributes
    ----------
    reason : from the closed list.
    detail : what was found, for a person.
    size : width and height in pixels where the header told them.
    """

    def __init__(
        self, reason: RejectReason, detail: str, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.size = size


def decode_picture(
    content: bytes, path: str, background: Rgb, max_pixels: int
) -> NDArray[np.uint8]:
    """Decode a picture file whole and normalise what it holds to 8-bit RGB.

    Turns it upright by its EXIF orientation; CMYK, 16-bit, palette and grey become RGB;
    transparency is composited on the background. Of an animation the first frame is taken.

    Parameters
    ----------
    content : the file's bytes.
    path : its name; only tells a broken picture from a file that never was one.
    background : RGB colour to show under transparency, 0 to 255 each.
    max_pixels : largest width × height, checked from the header before decoding.

    Returns
    -------
    ndarray
        uint8 H×W×3 RGB.

    Raises
    ------
    RejectedPicture
        With reason ``not_a_picture``, ``undecodable`` or ``too_large``.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        if is_picture_name(path):
            raise RejectedPicture(RejectReason.UNDECODABLE, "no supported picture format") from None
        raise RejectedPicture(RejectReason.NOT_A_PICTURE, "not a picture file") from None
    except MemoryError:
        raise
    # A damaged or hostile file can make a decoder raise anything at all.
    except Exception as error:
        raise RejectedPicture(RejectReason.UNDECODABLE, _first_line(error)) from error
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise RejectedPicture(
                RejectReason.TOO_LARGE,
                f"{width}×{height} is {width * height / 1e6:.0f} MP, over {max_pixels / 1e6:g} MP",
                image.size,
            )
        try:
            # load() decodes to the last byte; verify() lets truncated files pass.
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image), background)
        except MemoryError:
            raise
        except Exception as error:
            raise RejectedPicture(
                RejectReason.UNDECODABLE, _first_line(error), image.size
            ) from error


def is_picture_name(path: str) -> bool:
    """Tell by a file's name whether it should be a picture."""
    return PurePosixPath(path).suffix.lower() in _PICTURE_SUFFIXES


def hash_pixels(picture: NDArray[np.uint8]) -> str:
    """Return the SHA-256 (hex) of a picture's shape and pixels (uint8 H×W×3)."""
    digest = hashlib.sha256(f"{picture.shape[0]}x{picture.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()


def _to_rgb(image: Image.Image, background: Rgb) -> NDArray[np.uint8]:
    transparent = image.info.get("transparency")
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        picture = _gray_to_rgb(values)
        if isinstance(transparent, int):
            picture[values == transparent] = background
        return picture
    if image.mode == "RGB" and isinstance(transparent, tuple) and max(transparent) > 255:
        # Pillow keeps eight of the picture's sixteen bits, but all of the transparent colour's.
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        canvas = Image.new("RGBA", layer.size, (*background, 255))
        image = Image.alpha_composite(canvas, layer)
    return np.asarray(image.convert("RGB"))


def _gray_to_rgb(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Deep grey to RGB; where the type leaves the range open, the values tell it."""
    grey = values.astype(np.float32)
    if not np.isfinite(grey).all():
        raise ValueError("the picture holds values that are not finite")
    peak = float(grey.max())
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        white = 65535.0
    elif values.dtype.kind == "f" and peak <= 16:
        # Light in units of white, with room for what overshoots it.
        white = 1.0
    else:
        white = next((full for full in (255.0, 65535.0) if peak <= full), peak)
    eight = np.round(np.clip(grey / white, 0, 1) * 255).astype(np.uint8)
    return np.repeat(eight[..., np.newaxis], 3, axis=2)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
