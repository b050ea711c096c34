"""Stroke augmentation: reproducible, and stronger with strength."""

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


def test_equal_seeds_give_equal_drawings(strokes: list[Points]) -> None:
    assert (draw(strokes, 1, 1.0) == draw(strokes, 1, 1.0)).all()
    assert (draw(strokes, 1, 1.0) != draw(strokes, 2, 1.0)).any()


def test_strength_0_changes_no_line(strokes: list[Points]) -> None:
    for seed in range(3):
        again = compare_drawings(draw(strokes, seed, 0), draw_strokes(strokes, 256), tolerance=1)
        assert again.f1 > 0.99


def test_difference_grows_with_strength(strokes: list[Points]) -> None:
    unchanged = draw_strokes(strokes, 256)

    def mean_f1(strength: float) -> float:
        drawn = [draw(strokes, seed, strength) for seed in range(8)]
        return float(np.mean([compare_drawings(one, unchanged, tolerance=2).f1 for one in drawn]))

    weak, middle, strong = mean_f1(0.25), mean_f1(0.5), mean_f1(1.0)
    assert 0.99 > weak > middle > strong > 0.2


def test_some_strokes_are_dropped_but_not_most(strokes: list[Points]) -> None:
    unchanged = edge_density(draw_strokes(strokes, 256))
    shares = [edge_density(draw(strokes, seed, 1.0)) / unchanged for seed in range(20)]
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
def test_arbitrary_strokes_can_be_augmented(
    points: list[list[tuple[int, int]]], seed: int, strength: float
) -> None:
    strokes = [np.array(one, np.float32) for one in points]
    drawing = augment_strokes(strokes, 64, np.random.default_rng(seed), strength)
    assert drawing.shape == (64, 64)
    assert set(np.unique(drawing)) <= {0, 255}
