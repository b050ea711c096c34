"""Whether pictures keep to the lines that they were made from."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hed import EdgeDetector
from model.evaluation.metrics.bootstrap import Estimate, estimate
from postprocess import Agreement, clean_edges, compare_drawings

# In pixels of the pictures' own size.
TOLERANCE = 2


def follow_lines(
    hed: EdgeDetector,
    pictures: Sequence[NDArray[np.uint8]],
    drawings: Iterable[NDArray[np.uint8]],
    threshold: float,
    min_pixels: int = 5,
    on_picture: Callable[[], None] = lambda: None,
) -> list[Agreement]:
    """Compare the edges of pictures with the drawings that they were made from, at 2 px.

    Parameters
    ----------
    hed : finds the edges.
    pictures : uint8 S×S×3 RGB.
    drawings : uint8 S×S each, 0 on lines; one for each picture.
    threshold, min_pixels : the edges become lines by these, as training drawings do.
    on_picture : called after each.
    """
    maps = (edges for edges in hed.stream(pictures) if edges is not None)
    found = []
    for edges, drawing in zip(maps, drawings, strict=True):
        lines = clean_edges(edges, threshold, min_pixels)
        found.append(compare_drawings(lines, drawing, TOLERANCE))
        on_picture()
    return found


def estimate_lines(found: Sequence[Agreement]) -> dict[str, Estimate]:
    """Return F1, precision and recall over the line pixels of all pictures (at least one)."""
    counted = np.array(
        [(one.found, one.found_right, one.wanted, one.wanted_found) for one in found], np.float64
    )

    def shares(counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        lines, right, wanted, reached = (counts @ counted).T
        # As ``Agreement`` has it: nothing found is nothing wrong.
        precision = np.where(lines > 0, right / np.maximum(lines, 1), 1)
        recall = np.where(wanted > 0, reached / np.maximum(wanted, 1), 1)
        return precision, recall

    def f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        precision, recall = shares(counts)
        total = precision + recall
        return 2 * precision * recall / np.where(total > 0, total, 1)

    return {
        "edge_f1": estimate(f1, len(found)),
        "edge_precision": estimate(lambda counts: shares(counts)[0], len(found)),
        "edge_recall": estimate(lambda counts: shares(counts)[1], len(found)),
    }
