"""Drawings as a hand might have drawn them: the condition is changed, the target is not.

A generator that has seen lines a little off, missing or open, and the true picture beside them,
learns to be tolerant of them. What is done follows SketchyGAN (Chen and Hays, 2018) and the
"fake scribbles" of ControlNet (Zhang et al., 2023); strokes are what is changed, as in
DeepFacePencil (Li et al., 2020).
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator as Random
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from postprocess import Points, draw_strokes

# At full strength, in pixels of a drawing of 256: for other sizes in proportion.
_SIDE = 256
_MOST_DROPPED = 0.35
_GAPPED, _GAP = 0.25, (3.0, 12.0)
_OVERSHOOT, _LONGEST_OVERSHOOT = 0.3, 6.0
# Points that the direction of a stroke's end is taken over.
_ENDS = 6
_SIMPLIFY = (0.5, 2.5)
_STEP = 2.0
# Points from one move of the hand to the next.
_TREMBLE_EVERY = 6
_SHIFT, _TREMBLE = 1.2, 0.5
_TURN, _SCALE, _MOVE = np.deg2rad(6), 0.08, 6.0
_WARP, _WARP_GRID = 5.0, 4
_WIDEST_PEN = 10.0
# Share of the sheet.
_MOST_INK = 0.2


def augment_strokes(
    strokes: Sequence[Points], size: int, random: Random, strength: float
) -> NDArray[np.uint8]:
    """Draw strokes anew, as another hand might have.

    Some are left out, some are open or run on too far; what is left is simplified, smoothed,
    shifted, bent, drawn again with a thin or thick pen, and thinned. A thick pen makes one line of
    the two that edges are on both sides of an outline.

    Parameters
    ----------
    strokes : float32 (P, 2) each, x and y in pixels, as ``postprocess.trace_strokes`` finds them.
    size : side of the drawing in pixels.
    random : decides everything; the same state gives the same drawing.
    strength : 0 to 1; at 0 the strokes are drawn as they are.

    Returns
    -------
    ndarray
        uint8 size×size, 0 on lines and 255 elsewhere.
    """
    scale = size / _SIDE
    kept = _drop(strokes, random, strength)
    opened = _open(kept, random, strength, scale)
    longer = _overshoot(opened, random, strength, scale)
    smooth = _smooth(longer, strength * random.uniform(*_SIMPLIFY) * scale, _STEP * scale)
    bent = _bend(smooth, size, random, strength)
    return draw_strokes(bent, size, _choose_pen(bent, size, random, strength))


def _drop(strokes: Sequence[Points], random: Random, strength: float) -> list[Points]:
    """Leave out a random share of the strokes, at most 35 %; the shorter one is, the likelier."""
    share = strength * random.uniform(0, _MOST_DROPPED)
    count = round(share * len(strokes))
    if not count:
        return list(strokes)
    # The smallest of what is drawn with these rates are a sample without replacement.
    lengths = np.array([len(stroke) for stroke in strokes], np.float64)
    turns = random.exponential(np.sqrt(lengths))
    gone = set(np.argsort(turns, kind="stable")[:count].tolist())
    return [stroke for number, stroke in enumerate(strokes) if number not in gone]


def _open(strokes: Sequence[Points], random: Random, strength: float, scale: float) -> list[Points]:
    """Cut a gap into some strokes that are long enough for it."""
    chances, places = random.random((2, len(strokes)))
    widths = np.round(random.uniform(*_GAP, len(strokes)) * scale).astype(int)
    parts = []
    for stroke, chance, place, width in zip(strokes, chances, places, widths, strict=True):
        if chance >= strength * _GAPPED or len(stroke) < 4 * width:
            parts.append(stroke)
        else:
            start = round(place * (len(stroke) - width))
            parts += [part for part in (stroke[:start], stroke[start + width :]) if len(part) > 1]
    return parts


def _overshoot(
    strokes: Sequence[Points], random: Random, strength: float, scale: float
) -> list[Points]:
    """Let some strokes run on in the direction that they end in."""
    wanted = random.random((len(strokes), 2)) < strength * _OVERSHOOT
    lengths = random.uniform(0, _LONGEST_OVERSHOOT, wanted.shape) * strength * scale
    longer = list(strokes)
    for number in np.flatnonzero(wanted.any(1)).tolist():
        stroke = strokes[number]
        if len(stroke) < _ENDS or _is_ring(stroke):
            continue
        parts = [stroke]
        if wanted[number, 0]:
            parts.insert(0, _beyond(stroke[_ENDS - 1], stroke[0], lengths[number, 0]))
        if wanted[number, 1]:
            parts.append(_beyond(stroke[-_ENDS], stroke[-1], lengths[number, 1]))
        longer[number] = np.concatenate(parts)
    return longer


def _beyond(inner: Points, end: Points, length: float) -> Points:
    direction = end - inner
    reach = length / max(float(np.hypot(*direction)), 1.0)
    further: Points = end + direction * np.float32(reach)
    return further[np.newaxis]


def _is_ring(stroke: Points) -> bool:
    return len(stroke) > 2 and bool((stroke[0] == stroke[-1]).all())


def _smooth(strokes: Sequence[Points], epsilon: float, step: float) -> list[Points]:
    """Keep the points that matter (Douglas and Peucker, 1973), and curve through them.

    The curves are Catmull and Rom's (1974) with centripetal knots, which have no loops. All
    strokes are one curve in parts: there are hundreds, and a call costs more than its work.
    """
    if not strokes:
        return []
    knots = [cv2.approxPolyDP(stroke, epsilon, closed=False)[:, 0] for stroke in strokes]
    lengths = np.array([len(stroke) for stroke in knots])
    last = np.cumsum(lengths) - 1
    first = last - lengths + 1
    # One place more, as a curve through a single one is none.
    places = np.concatenate([*knots, knots[-1][-1:]]).astype(np.float64)
    chords = np.maximum(np.hypot(*np.diff(places, axis=0).T), 1e-3)
    times = np.concatenate([[0], np.cumsum(np.sqrt(chords))])
    tangents = _tangents(places, times, first, last)

    run = np.concatenate([[0], np.cumsum(chords)])
    counts = np.maximum(2, np.round((run[last] - run[first]) / step).astype(int) + 1)
    counts[lengths == 1] = 1
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    share = number / np.repeat(np.maximum(counts - 1, 1), counts)
    since, until = np.repeat(times[first], counts), np.repeat(times[last], counts)
    curve = CubicHermiteSpline(times, places, tangents)(since + (until - since) * share)
    return np.split(curve.astype(np.float32), np.cumsum(counts)[:-1])


def _tangents(
    places: NDArray[np.float64],
    times: NDArray[np.float64],
    first: NDArray[np.int_],
    last: NDArray[np.int_],
) -> NDArray[np.float64]:
    """Return the change of places at each, of strokes that begin and end at given numbers."""
    slopes = np.diff(places, axis=0) / np.diff(times)[:, np.newaxis]
    tangents: NDArray[np.float64] = np.gradient(places, times, axis=0)
    long = last > first
    tangents[first[long]] = slopes[first[long]]
    tangents[last[long]] = slopes[last[long] - 1]
    # A ring is as round where it begins as elsewhere.
    ring = long & (places[first] == places[last]).all(1) & (last - first > 1)
    through = (slopes[first[ring]] + slopes[last[ring] - 1]) / 2
    tangents[first[ring]] = tangents[last[ring]] = through
    return tangents


def _bend(strokes: Sequence[Points], size: int, random: Random, strength: float) -> list[Points]:
    """Shift every stroke a little with a tremble, then turn, scale, move and warp them all."""
    if not strokes:
        return []
    scale = size / _SIDE
    lengths = np.array([len(stroke) for stroke in strokes])
    points = np.concatenate(strokes).astype(np.float64)
    shifts = random.normal(0, _SHIFT * strength * scale, (len(strokes), 2))
    points += np.repeat(shifts, lengths, axis=0)
    points += _tremble(len(points), random) * (_TREMBLE * strength * scale)

    turn, grow = random.uniform(-1, 1) * _TURN * strength, random.uniform(-1, 1, 2)
    cosine, sine = np.cos(turn), np.sin(turn)
    matrix = np.array([[cosine, -sine], [sine, cosine]]) * (1 + grow * _SCALE * strength)
    middle = (size - 1) / 2
    move = random.uniform(-1, 1, 2) * _MOVE * strength * scale
    points = (points - middle) @ matrix.T + middle + move

    grid = random.uniform(-1, 1, (_WARP_GRID, _WARP_GRID, 2)) * _WARP * strength * scale
    places = (points * ((_WARP_GRID - 1) / (size - 1))).astype(np.float32)
    x, y = np.ascontiguousarray(places[:, :1]), np.ascontiguousarray(places[:, 1:])
    points += cv2.remap(grid, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    return np.split(points.astype(np.float32), np.cumsum(lengths)[:-1])


def _choose_pen(strokes: Sequence[Points], size: int, random: Random, strength: float) -> int:
    """Return a pen's width in pixels, such that what is drawn does not fill the sheet."""
    length = sum(map(len, strokes)) * _STEP * size / _SIDE
    widest = _MOST_INK * size**2 / max(length, 1)
    wish = 1 + strength * random.uniform(0, _WIDEST_PEN - 1) * size / _SIDE
    return max(1, round(min(wish, widest)))


def _tremble(count: int, random: Random) -> NDArray[np.float64]:
    """Return what a hand's tremble moves points by, in standard deviations: float64 (count, 2)."""
    known = np.arange(0, count + _TREMBLE_EVERY, _TREMBLE_EVERY)
    moves = random.normal(0, 1, (2, len(known)))
    return np.stack([np.interp(np.arange(count), known, move) for move in moves], axis=1)
