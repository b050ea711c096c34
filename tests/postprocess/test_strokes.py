"""Tracing a drawing to strokes and drawing them again preserves its lines."""

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


def white_sheet() -> NDArray[np.uint8]:
    return np.full((64, 64), 255, np.uint8)


def test_open_line_is_one_stroke() -> None:
    drawing = white_sheet()
    drawing[20, 10:50] = 0
    (stroke,) = trace_strokes(drawing)
    assert sorted([stroke[0].tolist(), stroke[-1].tolist()]) == [[10, 20], [49, 20]]
    assert len(stroke) == 40


def test_ring_is_one_closed_stroke() -> None:
    drawing = white_sheet()
    cv2.circle(drawing, (32, 32), 15, 0)
    (stroke,) = trace_strokes(drawing)
    assert (stroke[0] == stroke[-1]).all()
    assert len(stroke) > 80


def test_strokes_meet_at_center_of_crossing() -> None:
    drawing = white_sheet()
    drawing[32, 10:55] = drawing[10:55, 32] = 0
    strokes = trace_strokes(drawing)
    assert len(strokes) == 4
    for stroke in strokes:
        assert [32, 32] in (stroke[0].tolist(), stroke[-1].tolist())


def test_short_branch_is_removed_and_short_line_is_kept() -> None:
    drawing = white_sheet()
    drawing[32, 5:60] = 0
    drawing[29:32, 30] = 0
    drawing[50, 10:13] = 0
    strokes = trace_strokes(drawing)
    points = np.concatenate(strokes)
    assert points[:, 1].min() > 31
    assert (points[:, 1] == 50).sum() == 3


def test_white_sheet_has_no_strokes() -> None:
    assert trace_strokes(white_sheet()) == []
    assert (draw_strokes([], 64) == 255).all()


def test_redrawn_strokes_equal_drawing() -> None:
    for seed in range(5):
        drawing = draw_shapes(seed)
        again = draw_strokes(trace_strokes(drawing, min_spur_length=0), 256)
        assert compare_drawings(again, drawing, tolerance=1).f1 > 0.98


def test_stroke_outside_image_is_clipped() -> None:
    line = np.array([[-50, 30], [200, 30]], np.float32)
    assert (draw_strokes([line], 64) == 0).sum() == 64


PointLists = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=9)


@given(st.lists(PointLists, max_size=6))
def test_packed_strokes_round_trip(point_lists: list[list[tuple[int, int]]]) -> None:
    strokes = [np.array(one, np.float32) for one in point_lists]
    packed = pack_strokes(strokes)
    unpacked = unpack_strokes(packed)
    assert len(unpacked) == len(strokes)
    for stroke, original in zip(unpacked, strokes, strict=True):
        assert stroke.dtype == np.float32
        assert (stroke == original).all()
    if strokes:
        with pytest.raises(ValueError, match="not packed strokes"):
            unpack_strokes(packed[:-1])
