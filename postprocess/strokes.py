"""A line drawing as the strokes that it is made of, and back."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from postprocess.thin import thin

Image8 = NDArray[np.uint8]
Points = NDArray[np.float32]

# A branch that is shorter than this and ends nowhere is the roughness of a line.
_SPUR = 6
# Where OpenCV's hierarchy names the outline around an outline: that of a ring from within.
_PARENT = 3
# Fixed-point bits of the positions that lines are drawn at.
_SHIFT = 4


def trace_strokes(drawing: Image8, spur: int = _SPUR) -> list[Points]:
    """Return the strokes of a thin line drawing: from end or junction to end or junction.

    Lines are followed along their 8-connected pixels; where three or more meet, each stroke ends
    in the middle of the meeting. A ring is one stroke whose last point is its first.

    Parameters
    ----------
    drawing : uint8 H×W, 0 on lines of one pixel, as ``clean_edges`` makes them.
    spur : strokes of fewer pixels between a junction and a free end are left out.

    Returns
    -------
    list of ndarray
        float32 (P, 2) each, x and y in pixels, P of at least 1; in a fixed order.
    """
    lines = thin(drawing == 0).astype(np.uint8)
    around = cv2.filter2D(lines, -1, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT)
    meeting = ((lines > 0) & (around > 3)).astype(np.uint8)
    _, numbers, _, centres = cv2.connectedComponentsWithStats(meeting)
    labels = np.pad(numbers, 1).astype(np.int32, copy=False)
    # Without the meetings what is left are simple paths and rings, whose outline runs along them.
    outlines, nesting = cv2.findContours(lines - meeting, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    strokes = []
    for number, outline in enumerate(outlines):
        if nesting[0, number, _PARENT] != -1:
            continue
        path = _unfold(outline[:, 0].astype(np.int32, copy=False))
        start, end = _meeting_at(labels, path[0]), _meeting_at(labels, path[-1])
        if bool(start) != bool(end) and len(path) < spur:
            continue
        points = path.astype(np.float32)
        if start and not (start == end and len(path) == 1):
            points = np.concatenate([centres[start : start + 1].astype(np.float32), points])
        if end:
            points = np.concatenate([points, centres[end : end + 1].astype(np.float32)])
        strokes.append(points)
    return strokes


def _unfold(outline: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the path whose outline this is: an open one is gone along forth and back."""
    count = len(outline)
    if count < 3:
        return outline
    turns = np.flatnonzero((np.roll(outline, 1, 0) == np.roll(outline, -1, 0)).all(1))
    if len(turns) == 2:
        first, last = turns
        return outline[first : last + 1]
    # A ring; its outline is gone along once.
    return np.concatenate([outline, outline[:1]])


def _meeting_at(labels: NDArray[np.int32], point: NDArray[np.int32]) -> int:
    """Return the number of the meeting beside a point, 0 for none; labels have a margin of 1."""
    x, y = point
    return int(labels[y : y + 3, x : x + 3].max())


def draw_strokes(strokes: Sequence[Points], size: int, pen: int = 1) -> Image8:
    """Draw strokes with a pen, and thin that to lines of one pixel.

    Parameters
    ----------
    strokes : float32 (P, 2) each, x and y in pixels; what lies outside is cut off.
    size : side of the result in pixels.
    pen : its width in pixels, at least 1; lines that are closer than that become one.

    Returns
    -------
    ndarray
        uint8 size×size, 0 on lines and 255 elsewhere, as the training drawings are.
    """
    ink = np.zeros((size, size), np.uint8)
    fixed = [np.round(stroke * (1 << _SHIFT)).astype(np.int32) for stroke in strokes]
    cv2.polylines(ink, fixed, isClosed=False, color=255, thickness=pen, shift=_SHIFT)
    drawing: Image8 = np.where(thin(ink > 0), np.uint8(0), np.uint8(255))
    return drawing


def pack_strokes(strokes: Sequence[Points]) -> bytes:
    """Return strokes as bytes; positions are rounded to whole pixels, which must be 0 to 255.

    A count of strokes, the counts of their points (all uint16, little-endian), then x and y of all
    points (uint8).
    """
    lengths = [len(stroke) for stroke in strokes]
    head = np.array([len(strokes), *lengths], "<u2").tobytes()
    if not strokes:
        return head
    return head + np.round(np.concatenate(strokes)).astype(np.uint8).tobytes()


def unpack_strokes(data: bytes) -> list[Points]:
    """Return the strokes that ``pack_strokes`` packed.

    Raises
    ------
    ValueError
        If the bytes are cut short or are none of its.
    """
    (count,) = np.frombuffer(data, "<u2", 1)
    lengths = np.frombuffer(data, "<u2", count, offset=2)
    points = np.frombuffer(data, np.uint8, offset=2 + 2 * int(count))
    if points.size != 2 * int(lengths.sum()):
        raise ValueError("not the strokes of a drawing")
    places = points.reshape(-1, 2).astype(np.float32)
    return np.split(places, np.cumsum(lengths)[:-1]) if count else []
