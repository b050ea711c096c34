"""Normalization of hand-drawn sketches to the style of the training drawings."""

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import InputError
from postprocess.clean import remove_small_components
from postprocess.thin import thin

Image8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Larger sketches are scaled down to this side: enough for lines of one pixel in the result.
_MAX_WORK_SIZE = 1024
# Strokes are thinner than this share of the longer side; thicker areas are paper or filled.
_MAX_STROKE_SHARE = 1 / 12
# Minimum darkness of the darkest ink relative to the paper around it, in [0, 1].
_MIN_CONTRAST = 0.15
# Minimum brightness of shaded paper, as a share of the lit paper's.
_MIN_PAPER_SHARE = 0.2
# Ratio of the low to the high threshold of hysteresis thresholding.
_HYSTERESIS_RATIO = 0.6
# Specks with fewer pixels are removed; for a sketch of 256 px.
_MIN_SPECK_PIXELS = 6
# Smaller components are removed, as by ``clean_edges``.
_MIN_COMPONENT_PIXELS = 5


def normalize_sketch(sketch: Image8, size: int = 256, extent: float = 0.85) -> Image8:
    """Convert any sketch to a drawing like those of the training set: thin black lines on white.

    The background (tinted paper, the shading of a photograph, transparency) is removed; whatever is
    darker than the paper around it is ink. Filled areas are replaced by their outlines. The drawing
    is centered, scaled and thinned. White chalk on a blackboard works too.

    Parameters
    ----------
    sketch : ndarray, uint8, H×W gray, H×W×3 RGB or H×W×4 RGBA
        Of any size.
    size : int, pixels
        Side of the result.
    extent : float in (0, 1]
        Share of the result's side that the longer side of the drawing takes; see
        ``compute_extent``.

    Returns
    -------
    ndarray
        uint8 size×size, 0 on lines of one pixel and 255 elsewhere; all 255 if nothing was drawn.

    Raises
    ------
    InputError
        If the sketch has another shape or dtype, or the extent is out of range.

    Examples
    --------
    >>> sketch = np.full((300, 400, 3), 240, np.uint8)
    >>> sketch[100:104, 50:350] = 30
    >>> drawing = normalize_sketch(sketch, size=256, extent=0.8)
    >>> drawing.shape, round(compute_extent(drawing), 1)
    ((256, 256), 0.8)
    """
    if sketch.dtype != np.uint8 or sketch.size == 0 or not _is_image_shape(sketch.shape):
        raise InputError(
            "A sketch must be uint8 H×W, H×W×3 or H×W×4 with at least one pixel, "
            f"got {sketch.dtype} {sketch.shape}."
        )
    if not 0 < extent <= 1:
        raise InputError(f"The extent must be over 0 and at most 1, got {extent}.")
    lines = np.full((size, size), 255, np.uint8)
    ink = _outline_filled(_detect_ink(_limit_size(sketch)))
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not rows.size:
        return lines
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scaled = _scale_ink(cropped, max(1, round(extent * size)))
    height, width = scaled.shape
    top, left = (size - height) // 2, (size - width) // 2
    canvas = np.zeros((size, size), bool)
    canvas[top : top + height, left : left + width] = scaled
    lines[remove_small_components(thin(canvas), _MIN_COMPONENT_PIXELS)] = 0
    return lines


def compute_extent(drawing: Image8) -> float:
    """Return the share of a drawing's side that the longer side of its content takes, in [0, 1].

    Parameters
    ----------
    drawing : ndarray, uint8, S×S
        0 on lines.

    Returns
    -------
    float
        0 for an empty drawing.
    """
    sides = [np.flatnonzero((drawing == 0).any(axis)) for axis in (0, 1)]
    return max((int(side[-1] - side[0]) + 1 for side in sides if side.size), default=0) / len(
        drawing
    )


def _is_image_shape(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))


def _limit_size(sketch: Image8) -> Image8:
    longest = max(sketch.shape[:2])
    if longest <= _MAX_WORK_SIZE:
        return sketch
    scale = _MAX_WORK_SIZE / longest
    return cv2.resize(
        sketch, _scaled_size(sketch.shape, scale), interpolation=cv2.INTER_AREA
    ).astype(np.uint8, copy=False)


def _scaled_size(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    """Return the size of a scaled image in OpenCV's order: width, height."""
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _detect_ink(sketch: Image8) -> Mask:
    """Return the mask of ink pixels."""
    if sketch.ndim == 3 and sketch.shape[2] == 4:
        opacity = sketch[..., 3:].astype(np.float32) / 255
        on_white = sketch[..., :3] * opacity + 255 * (1 - opacity)
        ink = _segment_ink(on_white.round().astype(np.uint8))
        # White strokes on a transparent background: the opaque pixels are the drawing.
        has_transparency = opacity.min() < 0.5 < opacity.max()
        return _segment_ink(~sketch[..., 3:]) if has_transparency and not ink.any() else ink
    channels: Image8 = sketch[..., np.newaxis] if sketch.ndim == 2 else sketch
    border_pixels = np.concatenate([channels[0], channels[-1], channels[:, 0], channels[:, -1]])
    if np.median(border_pixels) < 80 and channels.max() > 160:
        channels = ~channels
    return _segment_ink(channels)


def _segment_ink(image: Image8) -> Mask:
    """Return the pixels of an image (uint8 H×W×C) darker than the paper, in any channel."""
    channels = [np.ascontiguousarray(image[..., channel]) for channel in range(image.shape[2])]
    if all(np.array_equal(channel, channels[0]) for channel in channels[1:]):
        channels = channels[:1]
    # A colored pencil is darkest in the channel that it absorbs most.
    darkness = np.max([_compute_darkness(channel) for channel in channels], axis=0)
    smooth = cv2.GaussianBlur(darkness, (0, 0), 0.7)
    max_darkness = float(np.percentile(smooth, 99.9))
    max_darkness = max(max_darkness, float(smooth.max()) * 0.7)
    if max_darkness < _MIN_CONTRAST:
        return np.zeros(smooth.shape, bool)
    # The paper's grain scatters around its median; ink is an outlier.
    noise_level = 6 * _median_deviation(smooth)
    high = max(max_darkness * 0.5, noise_level, _MIN_CONTRAST / 2)
    return _hysteresis_threshold(smooth, high * _HYSTERESIS_RATIO, high)


def _median_deviation(values: NDArray[np.float32]) -> float:
    """Return the median absolute deviation from the median."""
    if 2 * np.count_nonzero(values) < values.size:
        # Median and deviation are 0, as on a digital canvas.
        return 0.0
    return float(np.median(np.abs(values - np.median(values))))


def _compute_darkness(channel: Image8) -> NDArray[np.float32]:
    """Return by how much each pixel is darker than the paper, in [0, 1]."""
    longest = max(channel.shape)
    # Closing removes dark objects that are thinner than the kernel: the paper remains. It changes
    # slowly, so that a small version suffices.
    scale = min(1.0, 256 / longest)
    size = _scaled_size(channel.shape, scale)
    small = cv2.resize(channel, size, interpolation=cv2.INTER_AREA)
    kernel_size = 2 * round(max(size) * _MAX_STROKE_SHARE) + 1
    lightest = small.max()
    if (
        cv2.dilate(small, _inscribed_square(kernel_size), borderType=cv2.BORDER_REPLICATE)
        == lightest
    ).all():
        # Closing would give the brightest value everywhere, and blurring would not change it.
        paper = np.full_like(small, lightest)
    else:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel_size, kernel_size))
        paper = cv2.morphologyEx(small, cv2.MORPH_CLOSE, kernel, borderType=cv2.BORDER_REPLICATE)
        paper = cv2.GaussianBlur(paper, (0, 0), kernel_size / 4)
    # Closing keeps a black area larger than the kernel, but shaded paper is never that dark.
    min_paper = np.uint8(_MIN_PAPER_SHARE * np.percentile(paper, 90))
    full_paper = cv2.resize(np.maximum(paper, min_paper), channel.shape[::-1])
    return np.clip(1 - channel / np.maximum(full_paper, 1).astype(np.float32), 0, 1)


def _hysteresis_threshold(values: NDArray[np.float32], low: float, high: float) -> Mask:
    """Return the 8-connected components over ``low`` that contain a value over ``high``.

    Specks with too few pixels are left out.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((values > low).astype(np.uint8))
    is_kept = np.zeros(count, bool)
    is_kept[np.unique(labels[values > high])] = True
    min_pixels = _MIN_SPECK_PIXELS * (max(values.shape) / 256) ** 2
    is_kept &= stats[:, cv2.CC_STAT_AREA] >= min(min_pixels, _MIN_SPECK_PIXELS * 16)
    is_kept[0] = False
    mask: Mask = is_kept[labels]
    return mask


def _outline_filled(ink: Mask) -> Mask:
    """Replace areas that are thicker than a stroke by their outlines."""
    kernel_size = 2 * round(max(ink.shape) * _MAX_STROKE_SHARE / 2) + 1
    if not cv2.erode(ink.astype(np.uint8), _inscribed_square(kernel_size)).any():
        # If no inscribed square fits, the ellipse does not fit either.
        return ink
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel_size, kernel_size))
    filled = cv2.morphologyEx(ink.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    if not filled.any():
        return ink
    # Include the ink around: opening rounds off corners.
    dilated = cv2.dilate(filled, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    solid = (dilated > 0) & ink
    interior = cv2.erode(solid.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    outlined: Mask = ink & ~interior
    return outlined


def _inscribed_square(kernel_size: int) -> Image8:
    """Return a square inside the elliptic kernel of this size. It is much faster to apply."""
    side = max(1, 2 * int(kernel_size * 0.35) - 1)
    return np.ones((side, side), np.uint8)


def _scale_ink(ink: Mask, longest: int) -> Mask:
    """Scale ink so that its longer side has ``longest`` pixels, without losing any line."""
    scale = longest / max(ink.shape)
    size = _scaled_size(ink.shape, scale)
    values = np.where(ink, np.uint8(255), np.uint8(0))
    if scale >= 1:
        return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR) > 127
    # Widen lines to a pixel of the result, so that each covers at least half a pixel.
    width = int(np.ceil(1 / scale))
    dilated = cv2.dilate(values, np.ones((width, width), np.uint8))
    return cv2.resize(dilated, size, interpolation=cv2.INTER_AREA) > 127
