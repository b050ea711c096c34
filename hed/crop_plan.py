"""Computes which cells of every HED feature map contribute to the requested edges.

HED's receptive field reaches 113 px beyond a pixel, but its deep and costly layers need a much
smaller border than its first layers: without cropping, a third of the computed cells is never
used. The plan walks the network backwards and keeps, in every layer, the cells that are read. The
values in these cells equal those of the uncropped network.
"""

from dataclasses import dataclass
from math import ceil, floor

# Four poolings halve the input: a multiple of this size needs no rounding in any layer.
STRIDE = 16
# With a single row or column after the poolings, OpenCV 5.0 reads uninitialized memory when it
# resizes.
MIN_INPUT_SIZE = 32

# Default number of reflected pixels around a picture. It aligns the pooling cells as the authors'
# network does with its border of 128 px, so the lines are the same (docs/weights.md).
BORDER = 98

# Number of 3x3 convolutions in each of VGG-16's five blocks. A 2x2 max pooling separates blocks.
CONVS_PER_BLOCK = (2, 2, 3, 3, 3)


@dataclass(frozen=True)
class CellRange:
    """Half-open range of cells [start, stop) along one axis of one layer's uncropped map."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class ConvPadding:
    """Number of zero cells that one convolution adds before and after its input, along one axis."""

    before: int
    after: int


@dataclass(frozen=True)
class CropAxis:
    """Crop plan of one axis.

    Attributes
    ----------
    output_size : int, pixels
        Size of the edge map along this axis.
    pad_before, pad_after : int, pixels
        Reflected pixels that the input has beyond the edge map on either end.
    conv_paddings : tuple of tuple of ConvPadding
        For each block, the zero padding of each of its convolutions.
    score_crops : tuple of (int, int, int)
        For each block, the crop of its side output: index of the first cell of the block's last
        feature map that is scored, number of cells, and number of pixels to drop from the start
        after upsampling.
    """

    output_size: int
    pad_before: int
    pad_after: int
    conv_paddings: tuple[tuple[ConvPadding, ...], ...]
    score_crops: tuple[tuple[int, int, int], ...]

    @property
    def input_size(self) -> int:
        """Size of the network's input along this axis, in pixels."""
        return self.pad_before + self.output_size + self.pad_after


@dataclass(frozen=True)
class CropPlan:
    """Crop plan of both axes, for pictures of one size.

    The network's input has ``rows.input_size`` × ``columns.input_size`` pixels and its output
    ``rows.output_size`` × ``columns.output_size``.
    """

    rows: CropAxis
    columns: CropAxis


def plan_axis(size: int, border: int) -> CropAxis:
    """Compute the crop plan of one axis of HED.

    The padded picture (border, picture, border) is shortened by up to 15 px at its end, so that its
    size is a multiple of 16. If the border is shorter than that, it is extended instead. Only the
    part of the border that the edge map depends on becomes input; beyond it every convolution pads
    with zeros, as the uncropped network does.

    Parameters
    ----------
    size : int, pixels, at least 1
        Size of the edge map.
    border : int, pixels, at least 0
        Reflected border on each end.

    Returns
    -------
    CropAxis
    """
    padded_size = (size + 2 * border) // STRIDE * STRIDE
    if padded_size < size + border:
        padded_size += STRIDE
    padded_size = max(MIN_INPUT_SIZE, padded_size)
    required = [
        _cells_for_upsampling(level, border, size, padded_size)
        for level in range(len(CONVS_PER_BLOCK))
    ]
    conv_paddings: list[tuple[ConvPadding, ...]] = []
    score_crops: list[tuple[int, int, int]] = []
    next_span: CellRange | None = None
    for level in reversed(range(len(CONVS_PER_BLOCK))):
        cells, stride = padded_size >> level, 1 << level
        # The cells that the next block pools include those that the side output reads.
        span = (
            required[level]
            if next_span is None
            else CellRange(2 * next_span.start, 2 * next_span.stop)
        )
        score_span = required[level]
        score_crops.append(
            (score_span.start - span.start, len(score_span), border - score_span.start * stride)
        )
        paddings = []
        for _ in range(CONVS_PER_BLOCK[level]):
            source = CellRange(max(span.start - 1, 0), min(span.stop + 1, cells))
            paddings.append(ConvPadding(source.start - span.start + 1, span.stop + 1 - source.stop))
            span = source
        conv_paddings.append(tuple(reversed(paddings)))
        next_span = span
    assert next_span is not None
    return CropAxis(
        size,
        border - next_span.start,
        next_span.stop - border - size,
        tuple(reversed(conv_paddings)),
        tuple(reversed(score_crops)),
    )


def _cells_for_upsampling(level: int, border: int, size: int, padded_size: int) -> CellRange:
    """Return the cells whose centers enclose the centers of the requested pixels."""
    stride = 1 << level
    first = floor((border + 0.5) / stride - 0.5)
    last = ceil((border + size - 0.5) / stride - 0.5)
    return CellRange(max(first, 0), min(last + 1, padded_size // stride))
