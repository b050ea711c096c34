"""Thinning of a mask to lines of one pixel, as MATLAB's ``bwmorph(..., 'thin', Inf)`` does it.

The algorithm is the first of Guo and Hall, "Parallel Thinning with Two-Subiteration Algorithms",
Comm. ACM 32(3), 1989; ``skimage.morphology.thin`` gives the same pixels. Whether a pixel goes
depends on its eight neighbours alone. They are kept as one byte a pixel, so to look is to read a
table, and only the neighbours of deleted pixels are ever updated.
"""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

# x1 to x8 of the paper as (down, right): counter-clockwise from the right neighbour. Bit k of a
# neighbourhood stands for x(k+1), and (k + 4) % 8 is the direction opposite to k.
_NEIGHBOURS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin(mask: Mask) -> Mask:
    """Thin a mask until nothing changes.

    Parameters
    ----------
    mask : bool H×W; what lies outside counts as False.

    Returns
    -------
    ndarray
        bool H×W, a subset of the mask with as many 8-connected parts.
    """
    height, width = mask.shape
    # A margin of one pixel: a neighbour is then always a fixed step away in the flat map.
    stride = width + 2
    inside = np.zeros((height + 2, stride), bool)
    inside[1:-1, 1:-1] = mask
    steps = [down * stride + right for down, right in _NEIGHBOURS]
    neighbourhoods = _neighbourhoods(inside).ravel()
    pixels = np.flatnonzero(inside)
    before = -1
    while pixels.size != before:
        before = pixels.size
        for goes in _TABLES:
            gone = goes[neighbourhoods[pixels]]
            deleted, pixels = np.compress(gone, pixels), np.compress(~gone, pixels)
            for k, step in enumerate(steps):
                neighbourhoods[deleted + step] &= np.uint8(0xFF - (1 << (k + 4) % 8))
    lines = np.zeros_like(inside)
    np.put(lines, pixels, True)
    return lines[1:-1, 1:-1]


def _neighbourhoods(inside: Mask) -> NDArray[np.uint8]:
    """Pack each pixel's neighbours into a byte; the margin gets 0."""
    height, width = inside.shape
    bits = inside.view(np.uint8)
    packed = np.zeros_like(bits)
    for k, (down, right) in enumerate(_NEIGHBOURS):
        neighbour = bits[1 + down : height - 1 + down, 1 + right : width - 1 + right]
        packed[1:-1, 1:-1] |= neighbour << np.uint8(k)
    return packed


def _goes(x: list[bool]) -> bool:
    """Tell whether a pixel with the neighbours x1 to x8 goes in the first sub-iteration."""
    # A side neighbour, the corner after it and the next side: (x1, x2, x3) to (x7, x8, x1).
    quarters = [(x[i], x[i + 1], x[(i + 2) % 8]) for i in (0, 2, 4, 6)]
    # G1: the neighbours form one part, so the pixel joins nothing.
    parts = sum(not side and (corner or next_side) for side, corner, next_side in quarters)
    # G2: the pixel is neither the end of a line nor inside.
    filled = min(
        sum(side or corner for side, corner, _ in quarters),
        sum(corner or next_side for _, corner, next_side in quarters),
    )
    # G3: it lies on the side that this sub-iteration takes from.
    outer = not ((x[1] or x[2] or not x[7]) and x[0])
    return parts == 1 and 2 <= filled <= 3 and outer


def _table(turn: int) -> Mask:
    """List for every neighbourhood, turned by so many neighbours, whether its pixel goes."""
    return np.array(
        [_goes([bool(code >> (k + turn) % 8 & 1) for k in range(8)]) for code in range(256)]
    )


# The second sub-iteration is the first one turned by half a circle.
_TABLES = (_table(0), _table(4))
