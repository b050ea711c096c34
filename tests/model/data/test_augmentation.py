"""The same hand draws the same; a stronger one differs more."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.data.augmentation import augment_strokes
from postprocess import compare_drawings, draw_strokes, edge_density, trace_strokes
from tests.postprocess.drawings import draw_shapes

Points = NDArray[np.float32]


@pytest.fixture(scope="module")
def strokes() -> list[Points]:
    return trace_strokes(draw_shapes(3))


def draw(strokes: list[Points], seed: int, strength: float) -> NDArray[np.uint8]:
    return augment_strokes(strokes, 256, np.random.default_rng(seed), strength)


def test_a_seed_decides(strokes: list[Points]) -> None:
    assert (draw(strokes, 1, 1.0) == draw(strokes, 1, 1.0)).all()
    assert (draw(strokes, 1, 1.0) != draw(strokes, 2, 1.0)).any()


def test_without_strength_the_lines_stay(strokes: list[Points]) -> None:
    for seed in range(3):
        again = compare_drawings(draw(strokes, seed, 0), draw_strokes(strokes, 256), tolerance=1)
        assert again.f1 > 0.99


def test_more_strength_is_more_different(strokes: list[Points]) -> None:
    plain = draw_strokes(strokes, 256)

    def agree(strength: float) -> float:
        drawn = [draw(strokes, seed, strength) for seed in range(8)]
        return float(np.mean([compare_drawings(one, plain, tolerance=2).f1 for one in drawn]))

    weak, middle, strong = agree(0.25), agree(0.5), agree(1.0)
    assert 0.99 > weak > middle > strong > 0.2


def test_strokes_are_left_out_and_never_most(strokes: list[Points]) -> None:
    plain = edge_density(draw_strokes(strokes, 256))
    shares = [edge_density(draw(strokes, seed, 1.0)) / plain for seed in range(20)]
    assert min(shares) < 0.9
    assert min(shares) > 0.4


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 63), st.integers(0, 63)), min_size=1, max_size=30),
        max_size=5,
    ),
    st.integers(0, 2**32),
    st.floats(0, 1),
)
@settings(max_examples=50, deadline=None)
def test_any_strokes_can_be_drawn(
    places: list[list[tuple[int, int]]], seed: int, strength: float
) -> None:
    strokes = [np.array(one, np.float32) for one in places]
    drawing = augment_strokes(strokes, 64, np.random.default_rng(seed), strength)
    assert drawing.shape == (64, 64)
    assert set(np.unique(drawing)) <= {0, 255}
