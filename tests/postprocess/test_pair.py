import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import IntegrityError
from postprocess import (
    decode_pair,
    edge_density,
    encode_pair,
    join_pair,
    recognise_pair,
    split_pair,
)
from tests.conftest import draw_scene


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_a_pair_comes_back_pixel_for_pixel(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    drawing = random.choice(np.array([0, 255], np.uint8), (size, size))
    picture = random.integers(0, 256, (size, size, 3), np.uint8)
    pair = join_pair(drawing, picture)
    assert pair.shape == (size, 2 * size, 3)
    left, right = split_pair(decode_pair(encode_pair(pair)))
    assert (left == drawing).all()
    assert (right == picture).all()


@pytest.mark.parametrize("data", [b"", b"not a picture"])
def test_damaged_bytes_are_told(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="--refresh"):
        decode_pair(data)


def test_density_is_the_share_of_lines() -> None:
    drawing = np.full((10, 10), 255, np.uint8)
    drawing[0] = 0
    assert edge_density(drawing) == 0.1


def test_published_pairs_are_recognised() -> None:
    drawing = np.full((96, 96), 255, np.uint8)
    drawing[40] = 0
    picture = draw_scene(1)
    # As a JPEG would leave it: lines not quite black, paper not quite white.
    noisy = np.clip(join_pair(drawing, picture).astype(int), 20, 245).astype(np.uint8)
    halves = recognise_pair(noisy)
    assert halves is not None
    assert (halves[0] == drawing).all()
    assert (halves[1] == noisy[:, 96:]).all()


def test_what_is_no_pair_is_not_taken_for_one() -> None:
    drawing = np.full((96, 96), 255, np.uint8)
    assert recognise_pair(draw_scene(1)) is None, "a single picture"
    assert recognise_pair(join_pair(drawing, draw_scene(1))[:, ::-1]) is None, "swapped halves"
    assert recognise_pair(np.zeros((96, 192, 3), np.uint8)) is None, "a black left half"
