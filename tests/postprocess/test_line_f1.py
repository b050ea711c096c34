import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from config.errors import InputError
from postprocess import LineMatchCounts, compare_drawings

DRAWINGS = arrays(np.uint8, (12, 17), elements=st.sampled_from([0, 255]))


def draw_line(column: int, height: int = 20) -> np.ndarray:
    drawing = np.full((20, 20), 255, np.uint8)
    drawing[:height, column] = 0
    return drawing


@pytest.mark.parametrize(("tolerance", "f1"), [(0, 0.0), (1, 0.0), (2, 1.0), (3, 1.0)])
def test_shifted_line_matches_within_tolerance(tolerance: int, f1: float) -> None:
    assert compare_drawings(draw_line(5), draw_line(7), tolerance).f1 == f1


def test_half_line_has_full_precision_and_half_recall() -> None:
    half = compare_drawings(draw_line(5, 10), draw_line(5), 0)
    assert (half.precision, half.recall) == (1, 0.5)
    assert half.f1 == pytest.approx(2 / 3)
    # One pixel beyond the end is within the tolerance.
    assert compare_drawings(draw_line(5, 10), draw_line(5), 1).recall == 11 / 20


def test_empty_drawing_matches_empty_target_only() -> None:
    empty = np.full((20, 20), 255, np.uint8)
    assert compare_drawings(empty, empty, 2).f1 == 1
    assert compare_drawings(draw_line(3), empty, 2).f1 == 0
    assert compare_drawings(empty, draw_line(3), 2).f1 == 0


@given(DRAWINGS, DRAWINGS, st.integers(0, 4))
def test_swapping_drawings_swaps_precision_and_recall(
    one: np.ndarray, other: np.ndarray, tolerance: int
) -> None:
    forward, backward = (
        compare_drawings(*pair, tolerance) for pair in ((one, other), (other, one))
    )
    assert (forward.precision, forward.recall) == (backward.recall, backward.precision)
    assert compare_drawings(one, one, tolerance).f1 == 1
    assert compare_drawings(one, other, tolerance + 1).f1 >= forward.f1


def test_counts_of_drawings_add_up() -> None:
    good, bad = (
        compare_drawings(draw_line(5), draw_line(5), 0),
        compare_drawings(draw_line(5), draw_line(9), 0),
    )
    assert sum((good, bad), start=LineMatchCounts()).f1 == 0.5


def test_incomparable_drawings_raise_input_error() -> None:
    with pytest.raises(InputError, match="different sizes"):
        compare_drawings(draw_line(1), draw_line(1)[:10], 1)
    with pytest.raises(InputError, match="-1"):
        compare_drawings(draw_line(1), draw_line(1), -1)
