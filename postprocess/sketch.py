"""A drawing by hand, however it was made, to the look of the drawings that are trained on."""

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import InputError
from postprocess.clean import large_parts
from postprocess.thin import thin

Image8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Longest side that ink is looked for at: enough for a line of a pixel in the result.
_WORK_SIDE = 1024
# Strokes are thinner than this share of the longest side; what is thicker is paper, or filled.
_THICKEST = 1 / 12
# How much darker than the paper around it the darkest ink must be, in [0, 1].
_LEAST_CONTRAST = 0.15
# Paper in the shade has at least this share of the light of paper beside it.
_DARKEST_PAPER = 0.2
# A stroke holds on down to this share of the threshold that its darkest pixels are over.
_HOLD = 0.6
# Specks with fewer pixels, of a sheet of 256 px, are dust.
_DUST = 6
# Parts with fewer pixels go, as ``clean_edges`` has them go.
_LEAST_PART = 5


def normalise_sketch(sketch: Image8, size: int = 256, extent: float = 0.85) -> Image8:
    """Turn any drawing into one as the training drawings are: thin black lines on white.

    The background goes (a tinted page, the shade over a photographed one, transparency), what is
    darker than the paper around it is ink, filled areas become their outlines, and what was drawn
    is centred, scaled and thinned. White chalk on a black board counts as a drawing too.

    Parameters
    ----------
    sketch : uint8 H×W grey, H×W×3 RGB or H×W×4 RGBA, of any size.
    size : side of the result in pixels.
    extent : how much of it the longer side of what was drawn takes, in (0, 1]; as in the training
        set (``drawing_extent``).

    Returns
    -------
    ndarray
        uint8 size×size, 0 on lines of one pixel and 255 elsewhere; white all over where nothing
        was drawn.

    Raises
    ------
    InputError
        If the sketch is no such array, or the extent no such share.
    """
    if sketch.dtype != np.uint8 or sketch.size == 0 or not _is_image(sketch.shape):
        raise InputError(
            "A sketch is uint8 H×W, H×W×3 or H×W×4 with at least one pixel, "
            f"got {sketch.dtype} {sketch.shape}."
        )
    if not 0 < extent <= 1:
        raise InputError(f"The extent must be over 0 and at most 1, got {extent}.")
    lines = np.full((size, size), 255, np.uint8)
    ink = _outline_filled(_find_ink(_reduce(sketch)))
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not rows.size:
        return lines
    drawn = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    fitted = _scale(drawn, max(1, round(extent * size)))
    height, width = fitted.shape
    top, left = (size - height) // 2, (size - width) // 2
    place = np.zeros((size, size), bool)
    place[top : top + height, left : left + width] = fitted
    lines[large_parts(thin(place), _LEAST_PART)] = 0
    return lines


def drawing_extent(drawing: Image8) -> float:
    """Return how much of a drawing's side the longer side of what is drawn takes, in [0, 1].

    Parameters
    ----------
    drawing : uint8 S×S, 0 on lines.
    """
    sides = [np.flatnonzero((drawing == 0).any(axis)) for axis in (0, 1)]
    return max((int(side[-1] - side[0]) + 1 for side in sides if side.size), default=0) / len(
        drawing
    )


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))


def _reduce(sketch: Image8) -> Image8:
    longest = max(sketch.shape[:2])
    if longest <= _WORK_SIDE:
        return sketch
    scale = _WORK_SIDE / longest
    return cv2.resize(sketch, _scaled(sketch.shape, scale), interpolation=cv2.INTER_AREA).astype(
        np.uint8, copy=False
    )


def _scaled(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    """Return the size of a scaled image as OpenCV wants it: width and height."""
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _find_ink(sketch: Image8) -> Mask:
    """Return where there is ink."""
    if sketch.ndim == 3 and sketch.shape[2] == 4:
        opacity = sketch[..., 3:].astype(np.float32) / 255
        on_white = sketch[..., :3] * opacity + 255 * (1 - opacity)
        ink = _darker_than_paper(on_white.round().astype(np.uint8))
        # White strokes on nothing: what is there at all is the drawing.
        clear = opacity.min() < 0.5 < opacity.max()
        return _darker_than_paper(~sketch[..., 3:]) if clear and not ink.any() else ink
    colours: Image8 = sketch[..., np.newaxis] if sketch.ndim == 2 else sketch
    edge = np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    if np.median(edge) < 80 and colours.max() > 160:
        colours = ~colours
    return _darker_than_paper(colours)


def _darker_than_paper(colours: Image8) -> Mask:
    """Return what is darker than the paper around it, in any channel of uint8 H×W×C."""
    channels = [np.ascontiguousarray(colours[..., channel]) for channel in range(colours.shape[2])]
    if all(np.array_equal(channel, channels[0]) for channel in channels[1:]):
        channels = channels[:1]
    # Of a coloured pencil the channel that it takes most of tells most.
    darkness = np.max([_darkness(channel) for channel in channels], axis=0)
    smooth = cv2.GaussianBlur(darkness, (0, 0), 0.7)
    deepest = float(np.percentile(smooth, 99.9))
    deepest = max(deepest, float(smooth.max()) * 0.7)
    if deepest < _LEAST_CONTRAST:
        return np.zeros(smooth.shape, bool)
    # The grain of the paper is spread around its middle; ink is what stands out of it.
    grain = 6 * _deviation(smooth)
    high = max(deepest * 0.5, grain, _LEAST_CONTRAST / 2)
    return _hold(smooth, high * _HOLD, high)


def _deviation(values: NDArray[np.float32]) -> float:
    """Return the median distance from the median."""
    if 2 * np.count_nonzero(values) < values.size:
        # Both are 0, as on a sheet that was never paper.
        return 0.0
    return float(np.median(np.abs(values - np.median(values))))


def _darkness(channel: Image8) -> NDArray[np.float32]:
    """Return how much darker than the paper each pixel is, in [0, 1]."""
    longest = max(channel.shape)
    # The paper is what is left when dark things thinner than the kernel are closed. Looked at
    # small: it changes slowly.
    scale = min(1.0, 256 / longest)
    size = _scaled(channel.shape, scale)
    small = cv2.resize(channel, size, interpolation=cv2.INTER_AREA)
    reach = 2 * round(max(size) * _THICKEST) + 1
    lightest = small.max()
    if (cv2.dilate(small, _inner(reach), borderType=cv2.BORDER_REPLICATE) == lightest).all():
        # Closing would find the lightest everywhere, and blurring change nothing.
        paper = np.full_like(small, lightest)
    else:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        paper = cv2.morphologyEx(small, cv2.MORPH_CLOSE, kernel, borderType=cv2.BORDER_REPLICATE)
        paper = cv2.GaussianBlur(paper, (0, 0), reach / 4)
    # A black area larger than the kernel is filled; no shade makes paper as dark.
    darkest = np.uint8(_DARKEST_PAPER * np.percentile(paper, 90))
    whole = cv2.resize(np.maximum(paper, darkest), channel.shape[::-1])
    return np.clip(1 - channel / np.maximum(whole, 1).astype(np.float32), 0, 1)


def _hold(values: NDArray[np.float32], low: float, high: float) -> Mask:
    """Return the 8-connected parts over ``low`` that reach over ``high``, without the dust."""
    count, labels, facts, _ = cv2.connectedComponentsWithStats((values > low).astype(np.uint8))
    reaches = np.zeros(count, bool)
    reaches[np.unique(labels[values > high])] = True
    dust = _DUST * (max(values.shape) / 256) ** 2
    reaches &= facts[:, cv2.CC_STAT_AREA] >= min(dust, _DUST * 16)
    reaches[0] = False
    kept: Mask = reaches[labels]
    return kept


def _outline_filled(ink: Mask) -> Mask:
    """Replace what is thicker than a stroke by its outline."""
    reach = 2 * round(max(ink.shape) * _THICKEST / 2) + 1
    if not cv2.erode(ink.astype(np.uint8), _inner(reach)).any():
        # Where no square fits, nothing round about it does.
        return ink
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    filled = cv2.morphologyEx(ink.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    if not filled.any():
        return ink
    # All of the ink around: an opened area has lost its corners.
    near = cv2.dilate(filled, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    solid = (near > 0) & ink
    inside = cv2.erode(solid.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    outlined: Mask = ink & ~inside
    return outlined


def _inner(reach: int) -> Image8:
    """Return a square that lies in the round kernel of so many pixels; it takes far less time."""
    side = max(1, 2 * int(reach * 0.35) - 1)
    return np.ones((side, side), np.uint8)


def _scale(ink: Mask, longest: int) -> Mask:
    """Scale ink such that its longer side has so many pixels; no line is lost."""
    scale = longest / max(ink.shape)
    size = _scaled(ink.shape, scale)
    values = np.where(ink, np.uint8(255), np.uint8(0))
    if scale >= 1:
        return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR) > 127
    # As wide as a pixel of the result, so that at least half of one is covered.
    width = int(np.ceil(1 / scale))
    wide = cv2.dilate(values, np.ones((width, width), np.uint8))
    return cv2.resize(wide, size, interpolation=cv2.INTER_AREA) > 127
