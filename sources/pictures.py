"""Decoding of picture files to RGB pixels, with checks before the decoding."""

import hashlib
import io
import warnings
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from storage import RejectReason

# ``decode_picture`` checks the size in the header; Pillow's own limit would warn or raise earlier.
Image.MAX_IMAGE_PIXELS = None

# Where Pillow's warnings (unusual tags, a truncated file) matter, the picture is rejected.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

# Raster formats only: EPS, for example, would start Ghostscript.
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
    # Pictures in formats that are not supported.
    *(".heic", ".heif", ".psd", ".raw", ".cr2", ".nef", ".arw", ".dng", ".svg", ".eps"),
}

Rgb = tuple[int, int, int]


class RejectedPicture(Exception):
    """A file that cannot be decoded to usable pixels.

    Attributes
    ----------
    reason : RejectReason
        ``NOT_A_PICTURE``, ``UNDECODABLE`` or ``TOO_LARGE``.
    detail : str
        Description of the problem in one line.
    size : tuple of int, pixels, or None
        Width and height if the header could be read.
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
    """Decode a complete picture file and convert it to 8-bit RGB.

    The EXIF orientation is applied. CMYK, 16-bit, palette and gray pictures are converted to RGB,
    and transparent pixels are composited on the background. The first frame of an animation is
    used.

    Parameters
    ----------
    content : bytes
        Bytes of the file.
    path : str
        Name of the file; its suffix distinguishes a corrupt picture from another kind of file.
    background : tuple of int, 0 to 255
        RGB color under transparent pixels.
    max_pixels : int, pixels
        Maximum of width × height, checked in the header before decoding.

    Returns
    -------
    ndarray
        uint8 H×W×3 RGB, 0 to 255.

    Raises
    ------
    RejectedPicture
        With reason ``NOT_A_PICTURE``, ``UNDECODABLE`` or ``TOO_LARGE``.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        if is_picture_name(path):
            raise RejectedPicture(RejectReason.UNDECODABLE, "no supported picture format") from None
        raise RejectedPicture(RejectReason.NOT_A_PICTURE, "not a picture file") from None
    except MemoryError:
        raise
    # A corrupt or hostile file can make a decoder raise any exception.
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
            # load() decodes all pixels; verify() does not detect truncated files.
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image), background)
        except MemoryError:
            raise
        except Exception as error:
            raise RejectedPicture(
                RejectReason.UNDECODABLE, _first_line(error), image.size
            ) from error


def is_picture_name(path: str) -> bool:
    """Return whether a file's suffix is that of a picture.

    Parameters
    ----------
    path : str
        Name or path of the file.

    Returns
    -------
    bool
        True also for picture formats that cannot be decoded, such as SVG.

    Examples
    --------
    >>> is_picture_name("photos/A.JPG"), is_picture_name("notes.txt")
    (True, False)
    """
    return PurePosixPath(path).suffix.lower() in _PICTURE_SUFFIXES


def hash_pixels(picture: NDArray[np.uint8]) -> str:
    """Compute the hash of a picture's shape and pixels.

    Parameters
    ----------
    picture : ndarray
        uint8 H×W×3 RGB.

    Returns
    -------
    str
        SHA-256 (hex).
    """
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
        # Pillow reduces the pixels from 16 to 8 bits, but not the transparent color.
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        canvas = Image.new("RGBA", layer.size, (*background, 255))
        image = Image.alpha_composite(canvas, layer)
    return np.asarray(image.convert("RGB"))


def _gray_to_rgb(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Convert 16-bit, 32-bit and float gray to RGB.

    The white level is inferred from the type, or from the largest value where the type does not
    define it.
    """
    gray = values.astype(np.float32)
    if not np.isfinite(gray).all():
        raise ValueError("the picture holds values that are not finite")
    peak = float(gray.max())
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        white = 65535.0
    elif values.dtype.kind == "f" and peak <= 16:
        # Linear light in units of white, with room for highlights above white.
        white = 1.0
    else:
        white = next((level for level in (255.0, 65535.0) if peak <= level), peak)
    scaled = np.round(np.clip(gray / white, 0, 1) * 255).astype(np.uint8)
    return np.repeat(scaled[..., np.newaxis], 3, axis=2)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
