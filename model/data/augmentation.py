"""Stroke augmentation: drawings are changed as if drawn by another hand, pictures are not.

A generator that is trained on lines that are a little off, missing or open becomes tolerant of
them. The changes follow SketchyGAN (Chen and Hays, 2018) and the "fake scribbles" of ControlNet
(Zhang et al., 2023). They apply to strokes, as in DeepFacePencil (Li et al., 2020).
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator as Random
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from postprocess import Points, draw_strokes

# Values at strength 1, in pixels of a drawing of side 256; proportional at other sides.
_REFERENCE_SIDE = 256
_MAX_DROPPED_SHARE = 0.35
_GAP_PROBABILITY, _GAP_LENGTHS = 0.25, (3.0, 12.0)
_OVERSHOOT_PROBABILITY, _MAX_OVERSHOOT = 0.3, 6.0
# Points that the direction of a stroke's end is computed over.
_END_POINTS = 6
_SIMPLIFY_EPSILONS = (0.5, 2.5)
_CURVE_STEP = 2.0
# Points from one random offset to the next; those between are interpolated.
_TREMOR_INTERVAL = 6
_SHIFT_STD, _TREMOR_STD = 1.2, 0.5
_MAX_ROTATION, _MAX_SCALING, _MAX_TRANSLATION = np.deg2rad(6), 0.08, 6.0
_MAX_WARP, _WARP_GRID_SIZE = 5.0, 4
_MAX_PEN_WIDTH = 10.0
# Share of the drawing's pixels.
_MAX_INK_SHARE = 0.2


def augment_strokes(
    strokes: Sequence[Points], size: int, rng: Random, strength: float
) -> NDArray[np.uint8]:
    """Draw strokes with random changes.

    Some strokes are dropped, cut open or extended. The rest is simplified, smoothed, shifted,
    deformed, drawn with a pen of random width and thinned. A wide pen merges the two lines that
    edge detection puts on both sides of an outline.

    Parameters
    ----------
    strokes : sequence of ndarray
        float32 (P, 2) each, x and y in pixels, from ``postprocess.trace_strokes``.
    size : int
        Side of the drawing in pixels.
    rng : numpy.random.Generator
        Source of all randomness; the same state gives the same drawing.
    strength : float
        0 to 1; at 0 the strokes are drawn unchanged.

    Returns
    -------
    ndarray
        uint8 size×size, 0 on lines and 255 elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> line = np.array([[10, 10], [50, 10]], np.float32)
    >>> drawing = augment_strokes([line], 64, np.random.default_rng(0), strength=0.5)
    >>> drawing.shape, drawing.dtype
    ((64, 64), dtype('uint8'))
    """
    scale = size / _REFERENCE_SIDE
    remaining = _drop_strokes(strokes, rng, strength)
    with_gaps = _cut_gaps(remaining, rng, strength, scale)
    extended = _extend_ends(with_gaps, rng, strength, scale)
    smoothed = _smooth_strokes(
        extended, strength * rng.uniform(*_SIMPLIFY_EPSILONS) * scale, _CURVE_STEP * scale
    )
    deformed = _deform(smoothed, size, rng, strength)
    return draw_strokes(deformed, size, _choose_pen_width(deformed, size, rng, strength))


def _drop_strokes(strokes: Sequence[Points], rng: Random, strength: float) -> list[Points]:
    """Drop up to 35 % of the strokes at random; short ones are more likely to be dropped."""
    share = strength * rng.uniform(0, _MAX_DROPPED_SHARE)
    count = round(share * len(strokes))
    if not count:
        return list(strokes)
    # Weighted sampling without replacement: the smallest of exponential variables.
    lengths = np.array([len(stroke) for stroke in strokes], np.float64)
    sampling_keys = rng.exponential(np.sqrt(lengths))
    dropped = set(np.argsort(sampling_keys, kind="stable")[:count].tolist())
    return [stroke for number, stroke in enumerate(strokes) if number not in dropped]


def _cut_gaps(
    strokes: Sequence[Points], rng: Random, strength: float, scale: float
) -> list[Points]:
    """Cut a gap into some strokes that are long enough for it."""
    draws, positions = rng.random((2, len(strokes)))
    widths = np.round(rng.uniform(*_GAP_LENGTHS, len(strokes)) * scale).astype(int)
    parts = []
    for stroke, draw, position, width in zip(strokes, draws, positions, widths, strict=True):
        if draw >= strength * _GAP_PROBABILITY or len(stroke) < 4 * width:
            parts.append(stroke)
        else:
            start = round(position * (len(stroke) - width))
            parts += [part for part in (stroke[:start], stroke[start + width :]) if len(part) > 1]
    return parts


def _extend_ends(
    strokes: Sequence[Points], rng: Random, strength: float, scale: float
) -> list[Points]:
    """Extend some strokes at one or both ends in the direction of the end."""
    is_extended = rng.random((len(strokes), 2)) < strength * _OVERSHOOT_PROBABILITY
    lengths = rng.uniform(0, _MAX_OVERSHOOT, is_extended.shape) * strength * scale
    extended = list(strokes)
    for number in np.flatnonzero(is_extended.any(1)).tolist():
        stroke = strokes[number]
        if len(stroke) < _END_POINTS or _is_closed(stroke):
            continue
        parts = [stroke]
        if is_extended[number, 0]:
            parts.insert(0, _extrapolate(stroke[_END_POINTS - 1], stroke[0], lengths[number, 0]))
        if is_extended[number, 1]:
            parts.append(_extrapolate(stroke[-_END_POINTS], stroke[-1], lengths[number, 1]))
        extended[number] = np.concatenate(parts)
    return extended


def _extrapolate(inner: Points, end: Points, length: float) -> Points:
    direction = end - inner
    scale = length / max(float(np.hypot(*direction)), 1.0)
    point: Points = end + direction * np.float32(scale)
    return point[np.newaxis]


def _is_closed(stroke: Points) -> bool:
    return len(stroke) > 2 and bool((stroke[0] == stroke[-1]).all())


def _smooth_strokes(strokes: Sequence[Points], epsilon: float, step: float) -> list[Points]:
    """Simplify strokes (Douglas and Peucker, 1973) and interpolate them with smooth curves.

    The curves are Catmull and Rom's (1974) with centripetal knots, which make no loops. All strokes
    are interpolated in one call: there are hundreds, and a call costs more than its work.
    """
    if not strokes:
        return []
    knots = [cv2.approxPolyDP(stroke, epsilon, closed=False)[:, 0] for stroke in strokes]
    lengths = np.array([len(stroke) for stroke in knots])
    last = np.cumsum(lengths) - 1
    first = last - lengths + 1
    # One more point, because a curve needs at least two.
    points = np.concatenate([*knots, knots[-1][-1:]]).astype(np.float64)
    chords = np.maximum(np.hypot(*np.diff(points, axis=0).T), 1e-3)
    times = np.concatenate([[0], np.cumsum(np.sqrt(chords))])
    tangents = _compute_tangents(points, times, first, last)

    arc_lengths = np.concatenate([[0], np.cumsum(chords)])
    counts = np.maximum(
        2, np.round((arc_lengths[last] - arc_lengths[first]) / step).astype(int) + 1
    )
    counts[lengths == 1] = 1
    steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    fractions = steps / np.repeat(np.maximum(counts - 1, 1), counts)
    start_times, end_times = np.repeat(times[first], counts), np.repeat(times[last], counts)
    curve = CubicHermiteSpline(times, points, tangents)(
        start_times + (end_times - start_times) * fractions
    )
    return np.split(curve.astype(np.float32), np.cumsum(counts)[:-1])


def _compute_tangents(
    points: NDArray[np.float64],
    times: NDArray[np.float64],
    first: NDArray[np.int_],
    last: NDArray[np.int_],
) -> NDArray[np.float64]:
    """Return the derivative at each point of strokes that begin and end at the given indices."""
    slopes = np.diff(points, axis=0) / np.diff(times)[:, np.newaxis]
    tangents: NDArray[np.float64] = np.gradient(points, times, axis=0)
    has_length = last > first
    tangents[first[has_length]] = slopes[first[has_length]]
    tangents[last[has_length]] = slopes[last[has_length] - 1]
    # A closed stroke is smooth where it begins, too.
    is_closed = has_length & (points[first] == points[last]).all(1) & (last - first > 1)
    mean_slopes = (slopes[first[is_closed]] + slopes[last[is_closed] - 1]) / 2
    tangents[first[is_closed]] = tangents[last[is_closed]] = mean_slopes
    return tangents


def _deform(strokes: Sequence[Points], size: int, rng: Random, strength: float) -> list[Points]:
    """Shift each stroke with a tremor, then rotate, scale, translate and warp all of them."""
    if not strokes:
        return []
    scale = size / _REFERENCE_SIDE
    lengths = np.array([len(stroke) for stroke in strokes])
    points = np.concatenate(strokes).astype(np.float64)
    shifts = rng.normal(0, _SHIFT_STD * strength * scale, (len(strokes), 2))
    points += np.repeat(shifts, lengths, axis=0)
    points += _make_tremor(len(points), rng) * (_TREMOR_STD * strength * scale)

    angle, scaling = rng.uniform(-1, 1) * _MAX_ROTATION * strength, rng.uniform(-1, 1, 2)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.array([[cosine, -sine], [sine, cosine]]) * (1 + scaling * _MAX_SCALING * strength)
    center = (size - 1) / 2
    translation = rng.uniform(-1, 1, 2) * _MAX_TRANSLATION * strength * scale
    points = (points - center) @ matrix.T + center + translation

    grid = rng.uniform(-1, 1, (_WARP_GRID_SIZE, _WARP_GRID_SIZE, 2)) * _MAX_WARP * strength * scale
    grid_points = (points * ((_WARP_GRID_SIZE - 1) / (size - 1))).astype(np.float32)
    x, y = np.ascontiguousarray(grid_points[:, :1]), np.ascontiguousarray(grid_points[:, 1:])
    points += cv2.remap(grid, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    return np.split(points.astype(np.float32), np.cumsum(lengths)[:-1])


def _choose_pen_width(strokes: Sequence[Points], size: int, rng: Random, strength: float) -> int:
    """Return a random pen width in pixels, limited so that the ink does not fill the drawing."""
    length = sum(map(len, strokes)) * _CURVE_STEP * size / _REFERENCE_SIDE
    max_width = _MAX_INK_SHARE * size**2 / max(length, 1)
    width = 1 + strength * rng.uniform(0, _MAX_PEN_WIDTH - 1) * size / _REFERENCE_SIDE
    return max(1, round(min(width, max_width)))


def _make_tremor(count: int, rng: Random) -> NDArray[np.float64]:
    """Return smooth random offsets of points in standard deviations: float64 (count, 2)."""
    knots = np.arange(0, count + _TREMOR_INTERVAL, _TREMOR_INTERVAL)
    offsets = rng.normal(0, 1, (2, len(knots)))
    return np.stack([np.interp(np.arange(count), knots, move) for move in offsets], axis=1)
