"""Conversion of line drawings to strokes and back."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from postprocess.thin import thin

Image8 = NDArray[np.uint8]
Points = NDArray[np.float32]

# Shorter branches with a free end are artifacts of rough lines.
_MIN_SPUR_LENGTH = 6
# Index of the parent in a row of OpenCV's contour hierarchy. Only inner contours have one.
_PARENT_INDEX = 3
# Fractional bits of the fixed-point coordinates for drawing.
_FIXED_POINT_BITS = 4


def trace_strokes(drawing: Image8, min_spur_length: int = _MIN_SPUR_LENGTH) -> list[Points]:
    """Return the strokes of a thin line drawing, each between ends or junctions.

    Lines are followed along 8-connected pixels. Where three or more meet, each stroke ends at the
    center of the junction. A ring is one stroke whose last point equals its first.

    Parameters
    ----------
    drawing : ndarray, uint8, H×W
        0 on lines of one pixel, as made by ``clean_edges``.
    min_spur_length : int, pixels
        Shorter strokes between a junction and a free end are left out.

    Returns
    -------
    list of ndarray
        float32 (P, 2) each, x and y in pixels, P at least 1; in a deterministic order.

    Examples
    --------
    >>> drawing = np.full((64, 64), 255, np.uint8)
    >>> drawing[20, 10:50] = 0
    >>> (stroke,) = trace_strokes(drawing)
    >>> stroke.shape
    (40, 2)
    """
    lines = thin(drawing == 0).astype(np.uint8)
    num_neighbors = cv2.filter2D(
        lines, -1, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT
    )
    junctions = ((lines > 0) & (num_neighbors > 3)).astype(np.uint8)
    _, junction_labels, _, centroids = cv2.connectedComponentsWithStats(junctions)
    labels = np.pad(junction_labels, 1).astype(np.int32, copy=False)
    # Without junctions only simple paths and rings remain; their contours follow them.
    outlines, hierarchy = cv2.findContours(lines - junctions, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    strokes = []
    for number, outline in enumerate(outlines):
        if hierarchy[0, number, _PARENT_INDEX] != -1:
            continue
        path = _outline_to_path(outline[:, 0].astype(np.int32, copy=False))
        start, end = _junction_at(labels, path[0]), _junction_at(labels, path[-1])
        if bool(start) != bool(end) and len(path) < min_spur_length:
            continue
        points = path.astype(np.float32)
        if start and not (start == end and len(path) == 1):
            points = np.concatenate([centroids[start : start + 1].astype(np.float32), points])
        if end:
            points = np.concatenate([points, centroids[end : end + 1].astype(np.float32)])
        strokes.append(points)
    return strokes


def _outline_to_path(outline: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the path with the given outline; an open path's outline runs there and back."""
    count = len(outline)
    if count < 3:
        return outline
    turns = np.flatnonzero((np.roll(outline, 1, 0) == np.roll(outline, -1, 0)).all(1))
    if len(turns) == 2:
        first, last = turns
        return outline[first : last + 1]
    # The contour of a ring runs around it once.
    return np.concatenate([outline, outline[:1]])


def _junction_at(labels: NDArray[np.int32], point: NDArray[np.int32]) -> int:
    """Return the label of the junction beside a point, 0 for none. Labels are padded by 1."""
    x, y = point
    return int(labels[y : y + 3, x : x + 3].max())


def draw_strokes(strokes: Sequence[Points], size: int, pen_width: int = 1) -> Image8:
    """Draw strokes with a pen and thin them to lines of one pixel.

    Parameters
    ----------
    strokes : sequence of ndarray, float32, (P, 2)
        x and y in pixels; parts outside the image are clipped.
    size : int, pixels
        Side of the result.
    pen_width : int, pixels, at least 1
        Lines closer than this merge.

    Returns
    -------
    ndarray
        uint8 size×size, 0 on lines and 255 elsewhere, like the training drawings.
    """
    ink = np.zeros((size, size), np.uint8)
    fixed_points = [
        np.round(stroke * (1 << _FIXED_POINT_BITS)).astype(np.int32) for stroke in strokes
    ]
    cv2.polylines(
        ink, fixed_points, isClosed=False, color=255, thickness=pen_width, shift=_FIXED_POINT_BITS
    )
    drawing: Image8 = np.where(thin(ink > 0), np.uint8(0), np.uint8(255))
    return drawing


def pack_strokes(strokes: Sequence[Points]) -> bytes:
    """Serialize strokes. Coordinates are rounded to whole pixels, which must be 0 to 255.

    The format is the number of strokes and the number of points of each (uint16, little-endian),
    then x and y of all points (uint8).

    Parameters
    ----------
    strokes : sequence of ndarray, float32, (P, 2)

    Returns
    -------
    bytes
    """
    lengths = [len(stroke) for stroke in strokes]
    header = np.array([len(strokes), *lengths], "<u2").tobytes()
    if not strokes:
        return header
    return header + np.round(np.concatenate(strokes)).astype(np.uint8).tobytes()


def unpack_strokes(data: bytes) -> list[Points]:
    """Deserialize strokes from ``pack_strokes``.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    list of ndarray
        float32 (P, 2) each.

    Raises
    ------
    ValueError
        If the bytes are truncated or of another format.
    """
    (count,) = np.frombuffer(data, "<u2", 1)
    lengths = np.frombuffer(data, "<u2", count, offset=2)
    points = np.frombuffer(data, np.uint8, offset=2 + 2 * int(count))
    if points.size != 2 * int(lengths.sum()):
        raise ValueError("not packed strokes, or truncated")
    coordinates = points.reshape(-1, 2).astype(np.float32)
    return np.split(coordinates, np.cumsum(lengths)[:-1]) if count else []
