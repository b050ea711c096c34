"""A drawing to strokes and back keeps its lines."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from postprocess import (
    compare_drawings,
    draw_strokes,
    pack_strokes,
    trace_strokes,
    unpack_strokes,
)
from tests.postprocess.drawings import draw_shapes


def white() -> NDArray[np.uint8]:
    return np.full((64, 64), 255, np.uint8)


def test_an_open_line_is_one_stroke_from_end_to_end() -> None:
    drawing = white()
    drawing[20, 10:50] = 0
    (stroke,) = trace_strokes(drawing)
    assert sorted([stroke[0].tolist(), stroke[-1].tolist()]) == [[10, 20], [49, 20]]
    assert len(stroke) == 40


def test_a_ring_ends_where_it_begins() -> None:
    drawing = white()
    cv2.circle(drawing, (32, 32), 15, 0)
    (stroke,) = trace_strokes(drawing)
    assert (stroke[0] == stroke[-1]).all()
    assert len(stroke) > 80


def test_strokes_meet_in_the_middle_of_a_crossing() -> None:
    drawing = white()
    drawing[32, 10:55] = drawing[10:55, 32] = 0
    strokes = trace_strokes(drawing)
    assert len(strokes) == 4
    for stroke in strokes:
        assert [32, 32] in (stroke[0].tolist(), stroke[-1].tolist())


def test_a_short_branch_goes_and_a_short_line_of_its_own_stays() -> None:
    drawing = white()
    drawing[32, 5:60] = 0
    drawing[29:32, 30] = 0
    drawing[50, 10:13] = 0
    strokes = trace_strokes(drawing)
    points = np.concatenate(strokes)
    assert points[:, 1].min() > 31
    assert (points[:, 1] == 50).sum() == 3


def test_a_white_sheet_has_no_strokes() -> None:
    assert trace_strokes(white()) == []
    assert (draw_strokes([], 64) == 255).all()


def test_what_is_drawn_again_is_the_drawing() -> None:
    for seed in range(5):
        drawing = draw_shapes(seed)
        again = draw_strokes(trace_strokes(drawing, spur=0), 256)
        assert compare_drawings(again, drawing, tolerance=1).f1 > 0.98


def test_what_lies_outside_is_cut_off() -> None:
    line = np.array([[-50, 30], [200, 30]], np.float32)
    assert (draw_strokes([line], 64) == 0).sum() == 64


Places = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=9)


@given(st.lists(Places, max_size=6))
def test_packed_strokes_come_back(places: list[list[tuple[int, int]]]) -> None:
    strokes = [np.array(one, np.float32) for one in places]
    packed = pack_strokes(strokes)
    again = unpack_strokes(packed)
    assert len(again) == len(strokes)
    for stroke, before in zip(again, strokes, strict=True):
        assert stroke.dtype == np.float32
        assert (stroke == before).all()
    if strokes:
        with pytest.raises(ValueError, match="not the strokes"):
            unpack_strokes(packed[:-1])
