"""Thinning of a mask to lines of one pixel, like MATLAB's ``bwmorph(..., 'thin', Inf)``.

The algorithm is the first of Guo and Hall, "Parallel Thinning with Two-Subiteration Algorithms",
Comm. ACM 32(3), 1989; ``skimage.morphology.thin`` gives the same pixels. Whether a pixel is deleted
depends only on its eight neighbors. These are stored as one byte per pixel, so that the decision is
a table look-up, and only the neighbors of deleted pixels are updated.
"""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

# x1 to x8 of the paper as (down, right): counter-clockwise from the right neighbor. Bit k of a
# neighborhood stands for x(k+1), and (k + 4) % 8 is the direction opposite to k.
_NEIGHBORS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin(mask: Mask) -> Mask:
    """Thin a mask until it does not change any more.

    Parameters
    ----------
    mask : ndarray, bool, H×W
        Pixels outside count as False.

    Returns
    -------
    ndarray
        bool H×W, a subset of the mask with the same number of 8-connected components.

    Examples
    --------
    >>> mask = np.zeros((5, 9), bool)
    >>> mask[1:4, 1:8] = True
    >>> thin(mask).any(axis=1).tolist()
    [False, False, True, False, False]
    """
    height, width = mask.shape
    # With a margin of one pixel each neighbor has a fixed offset in the flattened mask.
    stride = width + 2
    inside = np.zeros((height + 2, stride), bool)
    inside[1:-1, 1:-1] = mask
    steps = [down * stride + right for down, right in _NEIGHBORS]
    neighborhoods = _pack_neighborhoods(inside).ravel()
    pixels = np.flatnonzero(inside)
    previous_size = -1
    while pixels.size != previous_size:
        previous_size = pixels.size
        for is_deletable in _DELETION_TABLES:
            to_delete = is_deletable[neighborhoods[pixels]]
            deleted, pixels = np.compress(to_delete, pixels), np.compress(~to_delete, pixels)
            for k, step in enumerate(steps):
                neighborhoods[deleted + step] &= np.uint8(0xFF - (1 << (k + 4) % 8))
    lines = np.zeros_like(inside)
    np.put(lines, pixels, True)
    return lines[1:-1, 1:-1]


def _pack_neighborhoods(inside: Mask) -> NDArray[np.uint8]:
    """Pack each pixel's neighbors into a byte; the margin gets 0."""
    height, width = inside.shape
    bits = inside.view(np.uint8)
    packed = np.zeros_like(bits)
    for k, (down, right) in enumerate(_NEIGHBORS):
        neighbor = bits[1 + down : height - 1 + down, 1 + right : width - 1 + right]
        packed[1:-1, 1:-1] |= neighbor << np.uint8(k)
    return packed


def _is_deletable(x: list[bool]) -> bool:
    """Return whether the first sub-iteration deletes a pixel with the neighbors x1 to x8."""
    # A side neighbor, the following corner and the next side: (x1, x2, x3) to (x7, x8, x1).
    quarters = [(x[i], x[i + 1], x[(i + 2) % 8]) for i in (0, 2, 4, 6)]
    # G1: the neighbors form one component, so the pixel does not connect components.
    parts = sum(not side and (corner or next_side) for side, corner, next_side in quarters)
    # G2: the pixel is neither the end of a line nor in the interior.
    filled = min(
        sum(side or corner for side, corner, _ in quarters),
        sum(corner or next_side for _, corner, next_side in quarters),
    )
    # G3: the pixel lies on the side that this sub-iteration deletes from.
    outer = not ((x[1] or x[2] or not x[7]) and x[0])
    return parts == 1 and 2 <= filled <= 3 and outer


def _build_table(turn: int) -> Mask:
    """Return for each neighborhood, rotated by ``turn`` neighbors, whether its pixel is deleted."""
    return np.array(
        [_is_deletable([bool(code >> (k + turn) % 8 & 1) for k in range(8)]) for code in range(256)]
    )


# The second sub-iteration is the first one rotated by 180 degrees.
_DELETION_TABLES = (_build_table(0), _build_table(4))
