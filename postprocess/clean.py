"""Edge probability to a clean line drawing, as PostprocessHED.m of pix2pix does it.

The original is a MATLAB program (Isola et al., "Image-to-Image Translation with Conditional
Adversarial Networks", 2017) on top of Piotr Dollár's edge toolbox. The pixels here equal its
pixels, so single precision and the order of operations are part of the specification.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import InputError
from postprocess.thin import Mask, thin

Map = NDArray[np.float32]
# Some pixels of a map: their values, and their positions in the flattened map.
Values = NDArray[np.float32]
Places = NDArray[np.intp]

_TRIANGLE_RADIUS = 4
_BOUNDARY = 5
_MULTIPLIER = np.float32(1.01)


def clean_edges(probability: Map, threshold: float, min_pixels: int = 5) -> NDArray[np.uint8]:
    """Turn an edge map into a thin black-on-white line drawing.

    Non-maximum suppression across the edge's orientation, threshold, thinning to convergence,
    removal of small 8-connected parts.

    Parameters
    ----------
    probability : float32 H×W in [0, 1], H and W at least 1.
    threshold : probability from which on (``>=``) a pixel can be a line, in [0, 1].
    min_pixels : parts with fewer pixels are removed; 0 or 1 keeps all.

    Returns
    -------
    ndarray
        uint8 H×W, 0 on lines and 255 elsewhere.

    Raises
    ------
    InputError
        If the map is not two-dimensional, is empty, holds a NaN or an infinity, or lies outside
        [0, 1]; or if the threshold or min_pixels is out of range.
    """
    _check(probability, threshold, min_pixels)
    # The original keeps 1 - probability and undoes it: in single precision that rounds.
    one = np.float32(1)
    edges = one - (one - probability.astype(np.float32, order="C", copy=False))
    # The lower bound keeps what was suppressed to exactly 0 out at threshold 0. The original
    # compares single with double, which MATLAB does in single.
    lowest = np.float32(max(np.finfo(np.float64).eps, threshold))
    lines = thin(find_maxima(edges, lowest))
    if min_pixels > 1:
        lines = large_parts(lines, min_pixels)
    return np.where(lines, np.uint8(0), np.uint8(255))


def find_maxima(edges: Map, lowest: np.float32) -> Mask:
    """Find the pixels that suppressing non-maxima leaves at ``lowest`` or more.

    Follows ``edgesNms`` of Dollár's edge toolbox with r=1, s=5, m=1.01: a pixel goes to 0 when
    1.01 times its value is less than the value one pixel away on either side, interpolated
    bilinearly; within 5 px of the picture's border values fade linearly to 0.

    Parameters
    ----------
    edges : float32 H×W in [0, 1].
    lowest : smallest value that counts, above 0.

    Returns
    -------
    ndarray
        bool H×W.
    """
    # The original fades last, but what is then too weak is out whether it is a maximum or not: only
    # the other pixels need an orientation.
    maxima = _fade_border(edges) >= lowest
    at = np.flatnonzero(maxima)
    angle = edge_orientation(edges, at)
    sine, cosine = _rounded(np.sin, angle), _rounded(np.cos, angle)
    y, x = (places.astype(np.float32) for places in np.divmod(at, edges.shape[1]))
    raised = edges.take(at) * _MULTIPLIER
    kept = raised >= _interpolate(edges, y - sine, x - cosine)
    kept &= raised >= _interpolate(edges, y + sine, x + cosine)
    np.put(maxima, at, kept)
    return maxima


def edge_orientation(edges: Map, at: Places) -> Values:
    """Return the direction across the edge at some pixels.

    Parameters
    ----------
    edges : float32 H×W.
    at : N positions in the flattened map.

    Returns
    -------
    ndarray
        float32 N, radians in [0, π], where π itself only comes from rounding.
    """
    smooth = _triangle_filter(edges)
    gy, gx = _gradient(smooth, 0), _gradient(smooth, 1)
    gyy, gxy = _gradient(gy, 0).take(at), _gradient(gy, 1).take(at)
    gxx = _gradient(gx, 1).take(at)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = gyy * np.sign(-gxy) / (gxx + np.float32(1e-5))
    # 0/0 has no direction; the original does not define what follows.
    slope[np.isnan(slope)] = 0
    angle = _rounded(np.arctan, slope)
    # The original's mod(angle, π), without its cost: an arctangent is at most π/2 either way.
    return np.add(angle, np.float32(np.pi), out=angle, where=angle < 0)


def _triangle_filter(edges: Map) -> Map:
    r = _TRIANGLE_RADIUS
    ramp = np.concatenate([np.arange(1, r + 1), [r + 1], np.arange(r, 0, -1)])
    kernel = (ramp / (r + 1) ** 2).astype(np.float32)
    height, width = edges.shape
    padded = np.pad(edges, r, mode="symmetric")
    rows, smooth = np.zeros((height + 2 * r, width), np.float32), np.zeros_like(edges)
    # A convolution meets its last sample first; in single precision the order of a sum decides
    # its last bit, and where gradients cancel that bit decides the orientation.
    taps = list(enumerate(kernel))[::-1]
    for offset, weight in taps:
        rows += weight * padded[:, offset : offset + width]
    for offset, weight in taps:
        smooth += weight * rows[offset : offset + height]
    return smooth


def _rounded(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], values: Values
) -> Values:
    """Apply a function in double precision: single ones differ from processor to processor."""
    return function(values.astype(np.float64)).astype(np.float32)


def _gradient(values: Map, axis: int) -> Map:
    """Return differences along an axis as MATLAB's ``gradient``: 0 along an axis of one pixel."""
    if values.shape[axis] == 1:
        return np.zeros_like(values)
    return np.asarray(np.gradient(values, axis=axis), np.float32)


def _interpolate(values: Map, y: Values, x: Values) -> Values:
    """Interpolate a map bilinearly at some points; those outside move to its border."""
    height, width = values.shape
    x = np.clip(x, np.float32(0), np.float32(max(width - 1.001, 0)))
    y = np.clip(y, np.float32(0), np.float32(max(height - 1.001, 0)))
    x0, y0 = np.floor(x), np.floor(y)
    right, below = x - x0, y - y0
    left, above = np.float32(1) - right, np.float32(1) - below
    corner = y0.astype(np.intp) * width + x0.astype(np.intp)
    result = np.zeros_like(x)
    for step, across, down in (
        (0, left, above),
        (1, right, above),
        (width, left, below),
        (width + 1, right, below),
    ):
        # A corner outside the map weighs 0, so any value will do for it.
        result += values.take(corner + step, mode="clip") * across * down
    return result


def large_parts(lines: Mask, min_pixels: int) -> Mask:
    """Return a mask (bool H×W) without its 8-connected parts of fewer pixels."""
    count, found = cv2.connectedComponents(lines.view(np.uint8), connectivity=8)
    parts = np.asarray(found, np.int32)
    # Only line pixels are counted: the background, part 0, stays empty and so is never large.
    sizes = np.bincount(parts[lines], minlength=count)
    return (sizes >= min_pixels).take(parts)


def _fade_border(edges: Map) -> Map:
    faded = edges.copy()
    height, width = edges.shape
    depth = min(_BOUNDARY, width // 2, height // 2)
    for distance in range(depth):
        factor = np.float32(distance) / np.float32(depth)
        for line in (distance, -1 - distance):
            faded[:, line] *= factor
    for distance in range(depth):
        factor = np.float32(distance) / np.float32(depth)
        for line in (distance, -1 - distance):
            faded[line] *= factor
    return faded


def _check(probability: Map, threshold: float, min_pixels: int) -> None:
    if probability.ndim != 2 or probability.size == 0:
        shape = "×".join(map(str, probability.shape))
        raise InputError(f"An edge map must be H×W with at least one pixel, got {shape}.")
    low, high = float(np.min(probability)), float(np.max(probability))
    if not (low >= 0 and high <= 1):
        raise InputError(f"Edge probabilities must lie in [0, 1], got {low} to {high}.")
    if not 0 <= threshold <= 1:
        raise InputError(f"The edge threshold must lie in [0, 1], got {threshold}.")
    if min_pixels < 0:
        raise InputError(f"min_pixels must be 0 or more, got {min_pixels}.")
