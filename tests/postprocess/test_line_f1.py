import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from config.errors import InputError
from postprocess import Agreement, compare_drawings

DRAWINGS = arrays(np.uint8, (12, 17), elements=st.sampled_from([0, 255]))


def line_at(column: int, height: int = 20) -> np.ndarray:
    drawing = np.full((20, 20), 255, np.uint8)
    drawing[:height, column] = 0
    return drawing


@pytest.mark.parametrize(("tolerance", "f1"), [(0, 0.0), (1, 0.0), (2, 1.0), (3, 1.0)])
def test_a_shifted_line_agrees_within_its_shift(tolerance: int, f1: float) -> None:
    assert compare_drawings(line_at(5), line_at(7), tolerance).f1 == f1


def test_half_a_line_is_all_right_and_half_of_what_is_wanted() -> None:
    half = compare_drawings(line_at(5, 10), line_at(5), 0)
    assert (half.precision, half.recall) == (1, 0.5)
    assert half.f1 == pytest.approx(2 / 3)
    # One pixel more on each end is near enough.
    assert compare_drawings(line_at(5, 10), line_at(5), 1).recall == 11 / 20


def test_nothing_where_nothing_is_wanted_is_right() -> None:
    empty = np.full((20, 20), 255, np.uint8)
    assert compare_drawings(empty, empty, 2).f1 == 1
    assert compare_drawings(line_at(3), empty, 2).f1 == 0
    assert compare_drawings(empty, line_at(3), 2).f1 == 0


@given(DRAWINGS, DRAWINGS, st.integers(0, 4))
def test_judging_the_other_way_swaps_precision_and_recall(
    one: np.ndarray, other: np.ndarray, tolerance: int
) -> None:
    there, back = (compare_drawings(*pair, tolerance) for pair in ((one, other), (other, one)))
    assert (there.precision, there.recall) == (back.recall, back.precision)
    assert compare_drawings(one, one, tolerance).f1 == 1
    assert compare_drawings(one, other, tolerance + 1).f1 >= there.f1


def test_counts_of_many_drawings_add_up() -> None:
    good, bad = (
        compare_drawings(line_at(5), line_at(5), 0),
        compare_drawings(line_at(5), line_at(9), 0),
    )
    assert sum((good, bad), start=Agreement()).f1 == 0.5


def test_what_cannot_be_compared_is_told() -> None:
    with pytest.raises(InputError, match="different sizes"):
        compare_drawings(line_at(1), line_at(1)[:10], 1)
    with pytest.raises(InputError, match="-1"):
        compare_drawings(line_at(1), line_at(1), -1)
