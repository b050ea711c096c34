"""Edge probability to a clean line drawing, as PostprocessHED.m of pix2pix does it.

The original is a MATLAB program (Isola et al., "Image-to-Image Translation with Conditional
Adversarial Networks", 2017) on top of Piotr Dollár's edge toolbox. The pixels here equal its
pixels, so single precision and the order of operations are part of the specification.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label
from skimage.morphology import thin

from errors import InputError

Map = NDArray[np.float32]

_TRIANGLE_RADIUS = 4
_SUPPRESSION_RADIUS = 1
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
    edges = one - (one - probability.astype(np.float32, copy=False))
    # The lower bound keeps what was suppressed to exactly 0 out at threshold 0. The original
    # compares single with double, which MATLAB does in single.
    strong = suppress_non_maxima(edges) >= np.float32(max(np.finfo(np.float64).eps, threshold))
    lines: NDArray[np.bool_] = thin(strong)
    if min_pixels > 1:
        parts = label(lines, connectivity=2)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        lines = (sizes >= min_pixels)[parts]
    return np.where(lines, np.uint8(0), np.uint8(255))


def suppress_non_maxima(edges: Map) -> Map:
    """Keep a pixel's value only where it is the largest across its edge.

    Follows ``edgesNms`` of Dollár's edge toolbox with r=1, s=5, m=1.01: a pixel goes to 0 when
    1.01 times its value is less than the value one pixel away on either side, interpolated
    bilinearly; within 5 px of the picture's border values fade linearly to 0.

    Parameters
    ----------
    edges : float32 H×W.

    Returns
    -------
    ndarray
        float32 H×W.
    """
    height, width = edges.shape
    orientation = edge_orientation(edges)
    ys, xs = np.nonzero(edges)
    values = edges[ys, xs]
    angle = orientation[ys, xs]
    cosine, sine = _rounded(np.cos, angle), _rounded(np.sin, angle)
    raised = values * _MULTIPLIER
    kept = np.ones(values.shape, bool)
    for step in (-_SUPPRESSION_RADIUS, _SUPPRESSION_RADIUS):
        step32 = np.float32(step)
        x: Map = xs.astype(np.float32) + step32 * cosine
        y: Map = ys.astype(np.float32) + step32 * sine
        kept &= raised >= _interpolate(edges, y, x)
    suppressed = np.zeros_like(edges)
    suppressed[ys[kept], xs[kept]] = values[kept]
    _fade_border(suppressed, min(_BOUNDARY, width // 2, height // 2))
    return suppressed


def edge_orientation(edges: Map) -> Map:
    """Return the direction across the edge at every pixel.

    Parameters
    ----------
    edges : float32 H×W.

    Returns
    -------
    ndarray
        float32 H×W, radians in [0, π], where π itself only comes from rounding.
    """
    gy, gx = _gradient(_triangle_filter(edges))
    _, gxx = _gradient(gx)
    gyy, gxy = _gradient(gy)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = gyy * np.sign(-gxy) / (gxx + np.float32(1e-5))
    # 0/0 has no direction; the original does not define what follows.
    slope[np.isnan(slope)] = 0
    return np.mod(_rounded(np.arctan, slope), np.float32(np.pi))


def _triangle_filter(edges: Map) -> Map:
    r = _TRIANGLE_RADIUS
    ramp = np.concatenate([np.arange(1, r + 1), [r + 1], np.arange(r, 0, -1)])
    kernel = (ramp / (r + 1) ** 2).astype(np.float32)
    height, width = edges.shape
    padded = np.pad(edges, r, mode="symmetric")
    rows = np.zeros((height + 2 * r, width), np.float32)
    # A convolution meets its last sample first; in single precision the order of a sum decides
    # its last bit, and where gradients cancel that bit decides the orientation.
    taps = list(enumerate(kernel))[::-1]
    for offset, weight in taps:
        rows += weight * padded[:, offset : offset + width]
    smooth = np.zeros((height, width), np.float32)
    for offset, weight in taps:
        smooth += weight * rows[offset : offset + height]
    return smooth


def _rounded(function: Callable[[NDArray[np.float64]], NDArray[np.float64]], values: Map) -> Map:
    """Apply a function in double precision: single ones differ from processor to processor."""
    return function(values.astype(np.float64)).astype(np.float32)


def _gradient(values: Map) -> tuple[Map, Map]:
    """Differences along y and x as MATLAB's ``gradient``: 0 along an axis of one pixel."""
    gy, gx = (
        np.asarray(np.gradient(values, axis=axis), np.float32)
        if values.shape[axis] > 1
        else np.zeros_like(values)
        for axis in (0, 1)
    )
    return gy, gx


def _interpolate(values: Map, y: Map, x: Map) -> Map:
    height, width = values.shape
    x = np.clip(x, np.float32(0), np.float32(max(width - 1.001, 0)))
    y = np.clip(y, np.float32(0), np.float32(max(height - 1.001, 0)))
    x0, y0 = x.astype(np.intp), y.astype(np.intp)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    right, below = x - x0.astype(np.float32), y - y0.astype(np.float32)
    left, above = np.float32(1) - right, np.float32(1) - below
    result: Map = (
        values[y0, x0] * left * above
        + values[y0, x1] * right * above
        + values[y1, x0] * left * below
        + values[y1, x1] * right * below
    )
    return result


def _fade_border(values: Map, depth: int) -> None:
    for distance in range(depth):
        factor = np.float32(distance) / np.float32(depth)
        for line in (distance, -1 - distance):
            values[:, line] *= factor
    for distance in range(depth):
        factor = np.float32(distance) / np.float32(depth)
        for line in (distance, -1 - distance):
            values[line, :] *= factor


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
