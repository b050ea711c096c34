import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from config.errors import IntegrityError
from postprocess import (
    DrawingSide,
    decode_pair,
    detect_drawing_sides,
    edge_density,
    encode_png,
    join_pair,
    split_pair,
)
from tests.conftest import draw_scene, encode
from tests.published_pairs import draw_published


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_pair_round_trip_is_exact(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    drawing = random.choice(np.array([0, 255], np.uint8), (size, size))
    picture = random.integers(0, 256, (size, size, 3), np.uint8)
    pair = join_pair(drawing, picture)
    assert pair.shape == (size, 2 * size, 3)
    left, right = split_pair(decode_pair(encode_png(pair)))
    assert (left == drawing).all()
    assert (right == picture).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_drawing_is_encoded_as_exact_gray_png(seed: int, size: int) -> None:
    drawing = np.random.default_rng(seed).choice(np.array([0, 255], np.uint8), (size, size))
    with Image.open(io.BytesIO(encode_png(drawing))) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        assert (np.asarray(image) == drawing).all()


@pytest.mark.parametrize("data", [b"", b"not a picture"])
def test_damaged_bytes_raise_integrity_error(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="--force"):
        decode_pair(data)


def test_edge_density_is_share_of_line_pixels() -> None:
    drawing = np.full((10, 10), 255, np.uint8)
    drawing[0] = 0
    assert edge_density(drawing) == 0.1


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("seed", range(6))
def test_drawing_is_distinguished_from_gray_photo_on_white(seed: int, quality: int) -> None:
    sides: tuple[DrawingSide, DrawingSide] = ("left", "right")
    for side, other in (sides, sides[::-1]):
        buffer = io.BytesIO()
        Image.fromarray(draw_published(seed, side)).save(buffer, "JPEG", quality=quality)
        image = decode_pair(buffer.getvalue())
        assert detect_drawing_sides(image) == {side}
        # Without the drawing beside it, the photo's half alone qualifies.
        alone = np.full_like(image, 120)
        alone[:, :256] = split_pair(image, other)[0][..., np.newaxis]
        assert detect_drawing_sides(alone) == {"left"}


def test_ambiguous_pair_gives_both_sides() -> None:
    drawing, _ = split_pair(draw_published(1))
    other, _ = split_pair(draw_published(2))
    pair = join_pair(drawing, np.repeat(other[..., np.newaxis], 3, axis=2))
    assert detect_drawing_sides(pair) == {"left", "right"}


def test_jpeg_keeps_lines() -> None:
    for side in ("left", "right"):
        pair = draw_published(3, side)
        lines, picture = split_pair(pair, side)
        again, photo = split_pair(decode_pair(encode(pair, "JPEG")), side)
        assert (again == lines).all()
        assert np.abs(photo.astype(int) - picture).mean() < 3


def test_other_images_are_not_detected_as_pairs() -> None:
    drawing = np.full((96, 96), 255, np.uint8)
    drawing[40] = 0
    assert detect_drawing_sides(join_pair(drawing, draw_scene(1))) == {"left"}
    assert not detect_drawing_sides(draw_scene(1)), "a single picture"
    assert not detect_drawing_sides(draw_scene(1, 96, 192)), "one picture of a pair's shape"
    assert not detect_drawing_sides(np.zeros((96, 192, 3), np.uint8)), "black halves"
    tinted = join_pair(drawing, draw_scene(1))
    tinted[:, :96] = (255, 210, 255)
    assert not detect_drawing_sides(tinted), "a tinted left half"
