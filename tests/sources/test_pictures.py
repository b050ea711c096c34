import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sources import RejectedPicture, decode_picture
from sources.pictures import hash_pixels
from tests.conftest import draw_scene, encode

WHITE = (255, 255, 255)


def decode(content: bytes, path: str = "x.png", max_pixels: int = 10**6) -> NDArray[np.uint8]:
    return decode_picture(content, path, WHITE, max_pixels)


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def uniform(mode: str, color: object) -> Image.Image:
    return Image.new(mode, (8, 6), color)  # type: ignore[arg-type]


def huge_png(width: int, height: int) -> bytes:
    """Return a small PNG whose header declares a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    )


@pytest.mark.parametrize(
    ("content", "color"),
    [
        (save(uniform("RGB", (10, 200, 90)), "PNG"), (10, 200, 90)),
        (save(uniform("L", 77), "TIFF"), (77, 77, 77)),
        (save(uniform("1", 1), "PNG"), (255, 255, 255)),
        (save(uniform("P", 0), "PNG"), (0, 0, 0)),
        (save(uniform("I;16", 257 * 77), "PNG"), (77, 77, 77)),
        (save(uniform("I;16", 257 * 77), "TIFF"), (77, 77, 77)),
        (save(uniform("I;16", 200), "PNG"), (1, 1, 1)),
        (save(uniform("F", 0.5), "TIFF"), (128, 128, 128)),
        (save(uniform("F", 1.2), "TIFF"), (255, 255, 255)),
        (save(uniform("F", 51.0), "TIFF"), (51, 51, 51)),
        (save(uniform("I", 65535), "TIFF"), (255, 255, 255)),
        (save(uniform("I;16", 500), "PNG", transparency=500), WHITE),
        (save(uniform("RGBA", (10, 200, 90, 0)), "PNG"), WHITE),
        (save(uniform("RGBA", (10, 200, 90, 255)), "PNG"), (10, 200, 90)),
        (save(uniform("LA", (0, 0)), "PNG"), WHITE),
        (save(uniform("RGB", (10, 200, 90)), "PNG", transparency=(10, 200, 90)), WHITE),
        (save(uniform("RGBA", (0, 0, 0, 128)), "PNG"), (127, 127, 127)),
        (save(uniform("RGBA", (9, 9, 9, 0)), "WEBP", lossless=True), WHITE),
    ],
)
def test_every_mode_is_converted_to_rgb(content: bytes, color: tuple[int, int, int]) -> None:
    picture = decode(content)
    assert picture.shape == (6, 8, 3)
    assert picture.dtype == np.uint8
    assert (picture == color).all()


def test_cmyk_keeps_its_colors() -> None:
    red = decode(save(uniform("RGB", (220, 30, 30)).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(red.astype(int) - (220, 30, 30)).max() < 12


def test_transparent_pixels_get_the_background() -> None:
    content = save(uniform("RGBA", (10, 200, 90, 0)), "PNG")
    assert (decode_picture(content, "x.png", (1, 2, 3), 10**6) == (1, 2, 3)).all()


def test_exif_orientation_is_applied() -> None:
    image = Image.fromarray(draw_scene(1, 24, 48))
    exif = image.getexif()
    exif[0x0112] = 6
    upright = decode(save(image, "PNG", exif=exif))
    assert upright.shape == (48, 24, 3)
    assert (upright == np.rot90(draw_scene(1, 24, 48), -1)).all()


def test_memory_error_is_not_a_rejection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raise_memory_error(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("sources.pictures.ImageOps.exif_transpose", raise_memory_error)
    with pytest.raises(MemoryError):
        decode(encode(draw_scene(1)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_truncated_picture_is_rejected(kind: str) -> None:
    content = encode(draw_scene(2, 200, 200), kind)
    assert decode(content).shape == (200, 200, 3)
    with pytest.raises(RejectedPicture) as caught:
        decode(content[: len(content) * 7 // 10])
    assert caught.value.reason == "undecodable"


def test_huge_picture_is_rejected_by_its_header() -> None:
    content = huge_png(20_000, 20_000)
    assert len(content) < 10_000
    with pytest.raises(RejectedPicture, match="400 MP, over 64 MP") as caught:
        decode(content, max_pixels=64_000_000)
    assert caught.value.reason == "too_large"
    assert caught.value.size == (20_000, 20_000)


@pytest.mark.parametrize(
    ("content", "path", "reason"),
    [
        (b"Dear diary", "photo.jpg", "undecodable"),
        (b"Dear diary", "PHOTO.JPG", "undecodable"),
        (b"", "empty.png", "undecodable"),
        (b"Dear diary", "notes.txt", "not_a_picture"),
        (b"\0\0\0\0", ".DS_Store", "not_a_picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "x.eps", "undecodable"),
        (huge_png(8, 8)[:44], "cut.png", "undecodable"),
    ],
)
def test_undecodable_file_has_a_reason(content: bytes, path: str, reason: str) -> None:
    with pytest.raises(RejectedPicture) as caught:
        decode(content, path)
    assert caught.value.reason == reason
    assert "\n" not in caught.value.detail


@given(st.binary(max_size=400), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]))
@settings(max_examples=150, deadline=None)
def test_random_bytes_raise_no_other_error(noise: bytes, kind: str) -> None:
    start = encode(draw_scene(3, 32, 32), kind)[:60]
    with suppress(RejectedPicture):
        assert decode(start + noise).ndim == 3


def test_pixel_hash_does_not_depend_on_the_format() -> None:
    picture = draw_scene(4)
    from_png, from_bmp = decode(encode(picture, "PNG")), decode(encode(picture, "BMP"))
    assert hash_pixels(from_png) == hash_pixels(from_bmp)
    assert hash_pixels(from_png) != hash_pixels(from_png.transpose(1, 0, 2))
    assert hash_pixels(np.zeros((2, 8, 3), np.uint8)) != hash_pixels(np.zeros((4, 4, 3), np.uint8))
