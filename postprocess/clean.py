"""Edge probabilities to a clean line drawing, following PostprocessHED.m of pix2pix.

The original is a MATLAB program (Isola et al., "Image-to-Image Translation with Conditional
Adversarial Networks", 2017) that uses Piotr Dollár's edge toolbox. The result equals the original's
pixel for pixel, so single precision and the order of operations are part of the specification.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import InputError
from postprocess.thin import Mask, thin

EdgeMap = NDArray[np.float32]
# Values of selected pixels, and their indices in the flattened map.
Values = NDArray[np.float32]
Positions = NDArray[np.intp]

_TRIANGLE_RADIUS = 4
_FADE_WIDTH = 5
_NMS_MULTIPLIER = np.float32(1.01)


def clean_edges(probability: EdgeMap, threshold: float, min_pixels: int = 5) -> NDArray[np.uint8]:
    """Convert an edge map to a thin black-on-white line drawing.

    The steps are non-maximum suppression across the edge's orientation, thresholding, thinning to
    convergence, and removal of small 8-connected components.

    Parameters
    ----------
    probability : ndarray, float32, H×W in [0, 1], H and W at least 1
        Edge map.
    threshold : float in [0, 1]
        A pixel can be on a line if its probability is at least this.
    min_pixels : int, at least 0
        Connected components with fewer pixels are removed; 0 or 1 keeps all.

    Returns
    -------
    ndarray
        uint8 H×W, 0 on lines and 255 elsewhere.

    Raises
    ------
    InputError
        If the map is not two-dimensional, is empty, contains NaN or infinity, or exceeds [0, 1];
        or if ``threshold`` or ``min_pixels`` is out of range.

    Examples
    --------
    >>> edges = np.zeros((11, 11), np.float32)
    >>> edges[5, :] = 0.9
    >>> drawing = clean_edges(edges, threshold=0.5, min_pixels=3)
    >>> drawing.dtype, np.unique(drawing).tolist()
    (dtype('uint8'), [0, 255])
    """
    _check_arguments(probability, threshold, min_pixels)
    # The original stores 1 - probability and inverts it, which rounds in single precision.
    one = np.float32(1)
    edges = one - (one - probability.astype(np.float32, order="C", copy=False))
    # The lower bound excludes suppressed pixels, which are exactly 0, at threshold 0. MATLAB
    # compares single with double in single precision.
    min_value = np.float32(max(np.finfo(np.float64).eps, threshold))
    lines = thin(suppress_non_maxima(edges, min_value))
    if min_pixels > 1:
        lines = remove_small_components(lines, min_pixels)
    return np.where(lines, np.uint8(0), np.uint8(255))


def suppress_non_maxima(edges: EdgeMap, min_value: np.float32) -> Mask:
    """Return the pixels that remain after non-maximum suppression with at least ``min_value``.

    Follows ``edgesNms`` of Dollár's edge toolbox with r=1, s=5, m=1.01: a pixel is set to 0 if
    1.01 times its value is less than the bilinearly interpolated value one pixel away on either
    side. Within 5 px of the picture's border values fade linearly to 0.

    Parameters
    ----------
    edges : ndarray, float32, H×W in [0, 1]
    min_value : float32, above 0
        Smallest value that remains.

    Returns
    -------
    ndarray
        bool H×W.
    """
    # The original fades last. Fading first gives the same result and saves computing orientations
    # for pixels that end below the threshold.
    maxima = _fade_border(edges) >= min_value
    positions = np.flatnonzero(maxima)
    angle = compute_orientation(edges, positions)
    sine, cosine = _apply_in_double(np.sin, angle), _apply_in_double(np.cos, angle)
    y, x = (coordinates.astype(np.float32) for coordinates in np.divmod(positions, edges.shape[1]))
    scaled = edges.take(positions) * _NMS_MULTIPLIER
    is_maximum = scaled >= _interpolate(edges, y - sine, x - cosine)
    is_maximum &= scaled >= _interpolate(edges, y + sine, x + cosine)
    np.put(maxima, positions, is_maximum)
    return maxima


def compute_orientation(edges: EdgeMap, positions: Positions) -> Values:
    """Return the direction across the edge at the given pixels.

    Parameters
    ----------
    edges : ndarray, float32, H×W
    positions : ndarray, intp, N
        Indices into the flattened map.

    Returns
    -------
    ndarray
        float32 N, radians in [0, π]; π itself results from rounding only.
    """
    smooth = _triangle_filter(edges)
    gy, gx = _gradient(smooth, 0), _gradient(smooth, 1)
    gyy, gxy = _gradient(gy, 0).take(positions), _gradient(gy, 1).take(positions)
    gxx = _gradient(gx, 1).take(positions)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = gyy * np.sign(-gxy) / (gxx + np.float32(1e-5))
    # 0/0 has no direction; the original leaves it undefined.
    slope[np.isnan(slope)] = 0
    angle = _apply_in_double(np.arctan, slope)
    # Faster than the original's mod(angle, π): an arctangent lies in [-π/2, π/2].
    return np.add(angle, np.float32(np.pi), out=angle, where=angle < 0)


def _triangle_filter(edges: EdgeMap) -> EdgeMap:
    r = _TRIANGLE_RADIUS
    ramp = np.concatenate([np.arange(1, r + 1), [r + 1], np.arange(r, 0, -1)])
    kernel = (ramp / (r + 1) ** 2).astype(np.float32)
    height, width = edges.shape
    padded = np.pad(edges, r, mode="symmetric")
    rows, smooth = np.zeros((height + 2 * r, width), np.float32), np.zeros_like(edges)
    # A convolution starts with the last sample. In single precision the order of summation decides
    # the last bit, and where gradients cancel that bit decides the orientation.
    taps = list(enumerate(kernel))[::-1]
    for offset, weight in taps:
        rows += weight * padded[:, offset : offset + width]
    for offset, weight in taps:
        smooth += weight * rows[offset : offset + height]
    return smooth


def _apply_in_double(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], values: Values
) -> Values:
    """Apply a function in double precision: single-precision results differ between CPUs."""
    return function(values.astype(np.float64)).astype(np.float32)


def _gradient(values: EdgeMap, axis: int) -> EdgeMap:
    """Return MATLAB's ``gradient`` along an axis: 0 along an axis of one pixel."""
    if values.shape[axis] == 1:
        return np.zeros_like(values)
    return np.asarray(np.gradient(values, axis=axis), np.float32)


def _interpolate(values: EdgeMap, y: Values, x: Values) -> Values:
    """Interpolate a map bilinearly at points; points outside are moved to the border."""
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
        # A corner outside the map has weight 0, so its value does not matter.
        result += values.take(corner + step, mode="clip") * across * down
    return result


def remove_small_components(lines: Mask, min_pixels: int) -> Mask:
    """Remove 8-connected components with fewer than ``min_pixels`` pixels.

    Parameters
    ----------
    lines : ndarray, bool, H×W
    min_pixels : int

    Returns
    -------
    ndarray
        bool H×W.
    """
    count, label_map = cv2.connectedComponents(lines.view(np.uint8), connectivity=8)
    labels = np.asarray(label_map, np.int32)
    # Only line pixels are counted: the background, label 0, has size 0 and is never kept.
    sizes = np.bincount(labels[lines], minlength=count)
    return (sizes >= min_pixels).take(labels)


def _fade_border(edges: EdgeMap) -> EdgeMap:
    faded = edges.copy()
    height, width = edges.shape
    depth = min(_FADE_WIDTH, width // 2, height // 2)
    for distance in range(depth):
        factor = np.float32(distance) / np.float32(depth)
        for line in (distance, -1 - distance):
            faded[:, line] *= factor
    for distance in range(depth):
        factor = np.float32(distance) / np.float32(depth)
        for line in (distance, -1 - distance):
            faded[line] *= factor
    return faded


def _check_arguments(probability: EdgeMap, threshold: float, min_pixels: int) -> None:
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
