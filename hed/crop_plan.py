"""Which part of every feature map the wanted edges depend on.

HED sees up to 113 px beyond a pixel, but its deep and costly layers need far less of a border than
its first: where every layer is computed whole, nothing ever reads a third of it. The plan walks the
network backwards and keeps, at every layer, the cells that are read. The values in them are those
of the whole network.
"""

from dataclasses import dataclass
from math import ceil, floor

# Four poolings halve the picture: a size that divides by this needs no rounding anywhere.
STRIDE = 16
# With a single row or column left after them, OpenCV 5.0 resizes from memory that nobody wrote.
SMALLEST = 32

# Reflected pixels around a picture. With this many the pooling cells lie as they do in the authors'
# network on a border of 128 px, and the lines are the same (docs/weights.md).
BORDER = 98

# 3x3 convolutions in each of VGG-16's five blocks; a 2x2 max pooling stands between blocks.
DEPTHS = (2, 2, 3, 3, 3)


@dataclass(frozen=True)
class Span:
    """Cells [start, stop) along one axis of one layer's whole map."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Step:
    """One convolution along one axis: zeros before and after its input make its output."""

    before: int
    after: int


@dataclass(frozen=True)
class Axis:
    """The plan of one axis.

    Attributes
    ----------
    side : wanted pixels.
    before, after : reflected pixels to add to them.
    blocks : for each block the zero padding of its convolutions.
    scores : for each block (first, cells, skip): the cells of its last feature map that its side
        output reads, counted from that map's own start, and the pixels to skip once they are
        upsampled.
    """

    side: int
    before: int
    after: int
    blocks: tuple[tuple[Step, ...], ...]
    scores: tuple[tuple[int, int, int], ...]

    @property
    def input(self) -> int:
        """Pixels that the network is given."""
        return self.before + self.side + self.after


@dataclass(frozen=True)
class Plan:
    """What to compute for pictures of one size; input is rows.input × columns.input pixels."""

    rows: Axis
    columns: Axis


def plan_axis(side: int, border: int) -> Axis:
    """Return the plan for ``side`` wanted pixels within ``border`` reflected ones on both ends.

    After the picture there are up to 15 px less, so that all is a multiple of 16; where the border
    has not that many, more. Of the border only what the wanted pixels depend on is asked for. What
    lies beyond it is zero to every convolution, as in the whole network.
    """
    whole = (side + 2 * border) // STRIDE * STRIDE
    if whole < side + border:
        whole += STRIDE
    whole = max(SMALLEST, whole)
    wanted = [_read_by_upsampling(level, border, side, whole) for level in range(len(DEPTHS))]
    blocks: list[tuple[Step, ...]] = []
    scores: list[tuple[int, int, int]] = []
    below: Span | None = None
    for level in reversed(range(len(DEPTHS))):
        cells, stride = whole >> level, 1 << level
        # What the next block pools holds what the side output reads.
        span = wanted[level] if below is None else Span(2 * below.start, 2 * below.stop)
        read = wanted[level]
        scores.append((read.start - span.start, len(read), border - read.start * stride))
        steps = []
        for _ in range(DEPTHS[level]):
            source = Span(max(span.start - 1, 0), min(span.stop + 1, cells))
            steps.append(Step(source.start - span.start + 1, span.stop + 1 - source.stop))
            span = source
        blocks.append(tuple(reversed(steps)))
        below = span
    assert below is not None
    return Axis(
        side,
        border - below.start,
        below.stop - border - side,
        tuple(reversed(blocks)),
        tuple(reversed(scores)),
    )


def _read_by_upsampling(level: int, border: int, side: int, whole: int) -> Span:
    """Return the cells between whose centres the wanted pixels' centres lie."""
    stride = 1 << level
    first = floor((border + 0.5) / stride - 0.5)
    last = ceil((border + side - 0.5) / stride - 0.5)
    return Span(max(first, 0), min(last + 1, whole // stride))
