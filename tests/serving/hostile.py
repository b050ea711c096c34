"""Valid, unusual, damaged and malicious request bodies, by a short description."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from postprocess import encode_png
from tests.serving.exports import draw_outline


def encode_image(image: Image.Image, format_name: str, **more: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **more)
    return file.getvalue()


def draw_image(mode: str = "L") -> Image.Image:
    return Image.fromarray(draw_outline(3)).convert(mode)


def make_png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_png(width: int, height: int, idat: bytes, depth: int = 8, color_type: int = 0) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    parts = (
        make_png_chunk(b"IHDR", head) + make_png_chunk(b"IDAT", idat) + make_png_chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + parts


def make_png_bomb(side: int) -> bytes:
    """Make a PNG of a few kB that decodes to side×side white pixels."""
    return make_png(side, side, zlib.compress((b"\0" + b"\xff" * side) * side, 9))


def make_gray16_png() -> bytes:
    gray = draw_outline(3).astype(np.uint16) * 257
    return encode_image(Image.fromarray(gray), "PNG")


def make_rgb48_png() -> bytes:
    gray = (draw_outline(3).astype(np.uint16) * 257).byteswap()
    rows = b"".join(b"\0" + row.repeat(3).tobytes() for row in gray)
    return make_png(256, 256, zlib.compress(rows), 16, 2)


def make_transparent_png() -> bytes:
    """Make a PNG with black lines on a transparent background."""
    image = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    image.putalpha(Image.fromarray(255 - draw_outline(3)))
    return encode_image(image, "PNG")


def make_rotated_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode_image(
        draw_image().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95
    )


def make_animation(format_name: str) -> bytes:
    frames = [draw_image("RGB"), Image.new("RGB", (256, 256), (255, 0, 0))]
    return encode_image(
        frames[0], format_name, save_all=True, append_images=frames[1:], lossless=True
    )


_PNG = encode_png(draw_outline(3))

# (content type, body): all decode to ``draw_outline(3)``.
VALID_BODIES = {
    "png": ("image/png", _PNG),
    "16-bit png": ("image/png", make_gray16_png()),
    "16-bit rgb png": ("image/png", make_rgb48_png()),
    "1-bit png": ("image/png", encode_image(draw_image("1"), "PNG")),
    "palette png": ("image/png", encode_image(draw_image("P"), "PNG")),
    "transparent png": ("image/png", make_transparent_png()),
    "gray and alpha png": ("image/png", encode_image(draw_image("LA"), "PNG")),
    "animated png": ("image/png", make_animation("PNG")),
    "webp": ("image/webp", encode_image(draw_image("RGB"), "WEBP", lossless=True)),
    "animated webp": ("image/webp", make_animation("WEBP")),
    "jpeg": ("image/jpeg", encode_image(draw_image(), "JPEG", quality=95)),
    "cmyk jpeg": (
        "image/jpeg",
        encode_image(draw_image("RGB").convert("CMYK"), "JPEG", quality=95),
    ),
    "rotated jpeg": ("image/jpeg", make_rotated_jpeg()),
    "uppercase type": ("IMAGE/PNG; charset=binary", _PNG),
}

# (content type, body, status, error code)
INVALID_BODIES = {
    "empty body": ("image/png", b"", 415, "wrong_type"),
    "truncated png": ("image/png", _PNG[: len(_PNG) // 2], 422, "unreadable"),
    "truncated jpeg": ("image/jpeg", VALID_BODIES["jpeg"][1][:-2000], 422, "unreadable"),
    "jpeg with many scans": (
        "image/jpeg",
        VALID_BODIES["jpeg"][1][:-2] + 200 * b"\xff\xda\0\x08\1\1\0\0\x3f\0",
        422,
        "unreadable",
    ),
    "truncated webp": ("image/webp", VALID_BODIES["webp"][1][:-200], 422, "unreadable"),
    "png header only": ("image/png", _PNG[:20], 422, "unreadable"),
    "png without pixels": ("image/png", make_png(0, 5, b""), 422, "unreadable"),
    "png with invalid chunks": ("image/png", b"\x89PNG\r\n\x1a\n" + b"x" * 500, 422, "unreadable"),
    "decompression bomb": ("image/png", make_png_bomb(12_000), 413, "too_large"),
    "bomb over Pillow's limit": (
        "image/png",
        make_png(60_000, 60_000, zlib.compress(b"\0")),
        413,
        "too_large",
    ),
    "huge width": ("image/png", make_png(2**31 - 1, 1, zlib.compress(b"\0")), 413, "too_large"),
    "compressed text bomb": (
        "image/png",
        _PNG[:33] + make_png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 << 20))) + _PNG[33:],
        422,
        "unreadable",
    ),
    "jpeg declared as png": ("image/png", VALID_BODIES["jpeg"][1], 415, "wrong_type"),
    "png declared as jpeg": ("image/jpeg", _PNG, 415, "wrong_type"),
    "gif": ("image/gif", encode_image(draw_image(), "GIF"), 415, "wrong_type"),
    "gif declared as png": ("image/png", encode_image(draw_image(), "GIF"), 415, "wrong_type"),
    "svg": ("image/svg+xml", b"<svg/>", 415, "wrong_type"),
    "form data": ("application/x-www-format_name-urlencoded", b"a=b", 415, "wrong_type"),
    "blank": ("image/png", encode_png(np.full((300, 300), 255, np.uint8)), 422, "empty"),
    "single pixel": ("image/png", encode_png(np.zeros((1, 1), np.uint8)), 422, "empty"),
    "single row": ("image/png", encode_png(np.full((1, 5000), 255, np.uint8)), 422, "empty"),
    "invalid json": ("application/json", b"{", 422, "invalid"),
    "json array": ("application/json", b"[1]", 422, "invalid"),
    "invalid utf-8": ("application/json", b'"\xff\xfe"', 422, "invalid"),
    "deeply nested json": ("application/json", b"[" * 100_000, 422, "invalid"),
    "nan and infinity": (
        "application/json",
        b'{"width": 100, "height": 100, "strokes": [{"points": [[NaN, 1], [2, Infinity]]}]}',
        422,
        "invalid",
    ),
    "coordinate too large": (
        "application/json",
        b'{"width": 100, "height": 100, "strokes": [{"points": [[1e308, 1], [2, 3]]}]}',
        422,
        "invalid",
    ),
    "zero canvas": (
        "application/json",
        b'{"width": 0, "height": 9, "strokes": []}',
        422,
        "invalid",
    ),
    "no strokes": (
        "application/json",
        b'{"width": 100, "height": 100, "strokes": []}',
        422,
        "empty",
    ),
    "dot": (
        "application/json",
        b'{"width": 1000, "height": 1000, "strokes": [{"points": [[5, 5], [6, 5]]}]}',
        422,
        "empty",
    ),
    "too many strokes": (
        "application/json",
        b'{"width": 100, "height": 100, "strokes": ['
        + b",".join([b'{"points": [[1, 2]]}'] * 2001)
        + b"]}",
        413,
        "too_large",
    ),
    "too many points": (
        "application/json",
        b'{"width": 100, "height": 100, "strokes": ['
        + b",".join([b'{"points": [' + b",".join([b"[1,2]"] * 26_000) + b"]}"] * 2)
        + b"]}",
        413,
        "too_large",
    ),
    "too many bytes": ("image/png", _PNG + bytes(5 << 20), 413, "too_large"),
}
