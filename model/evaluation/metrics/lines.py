"""Agreement of pictures with the lines that they were generated from."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hed import EdgeDetector
from model.evaluation.metrics.bootstrap import Estimate, Floats, estimate
from postprocess import LineMatchCounts, clean_edges, compare_drawings

Picture = NDArray[np.uint8]

# In pixels of the pictures.
LINE_TOLERANCE = 2


def extract_lines(
    hed: EdgeDetector,
    pictures: Sequence[Picture],
    threshold: float,
    min_pixels: int = 5,
) -> Iterator[Picture]:
    """Yield the lines of each picture: its HED edges, cleaned as the training drawings are.

    Parameters
    ----------
    hed : EdgeDetector
    pictures : sequence of ndarray, uint8, S×S×3 RGB
    threshold : float in [0, 1]
        Edge threshold; see ``clean_edges``.
    min_pixels : int, at least 0
        Connected components with fewer pixels are removed.

    Yields
    ------
    ndarray
        uint8 S×S, 0 on lines and 255 elsewhere, in the order of ``pictures``.
    """
    for edges in hed.stream(pictures):
        if edges is not None:
            yield clean_edges(edges, threshold, min_pixels)


def match_lines(
    hed: EdgeDetector,
    pictures: Sequence[Picture],
    drawings: Iterable[Picture],
    threshold: float,
    min_pixels: int = 5,
    on_picture: Callable[[], None] = lambda: None,
) -> list[LineMatchCounts]:
    """Compare the lines of pictures with the drawings that they were generated from, at 2 px.

    Parameters
    ----------
    hed : EdgeDetector
    pictures : sequence of ndarray, uint8, S×S×3 RGB
    drawings : iterable of ndarray, uint8, S×S
        0 on lines; one for each picture.
    threshold, min_pixels : float, int
        See ``extract_lines``.
    on_picture : callable
        Called after each picture.

    Returns
    -------
    list of LineMatchCounts
        One for each picture.
    """
    matches = []
    lines = extract_lines(hed, pictures, threshold, min_pixels)
    for predicted, drawing in zip(lines, drawings, strict=True):
        matches.append(compare_drawings(predicted, drawing, LINE_TOLERANCE))
        on_picture()
    return matches


def estimate_line_metrics(matches: Sequence[LineMatchCounts]) -> dict[str, Estimate]:
    """Return F1, precision and recall over the line pixels of all pictures.

    Parameters
    ----------
    matches : sequence of LineMatchCounts
        At least one.

    Returns
    -------
    dict
        Estimates by metric key: ``edge_f1``, ``edge_precision`` and ``edge_recall``.
    """
    counts = np.array(
        [
            (one.num_predicted, one.num_predicted_matched, one.num_target, one.num_target_matched)
            for one in matches
        ],
        np.float64,
    )

    def precision_and_recall(weights: Floats) -> tuple[Floats, Floats]:
        predicted, predicted_matched, target, target_matched = (weights @ counts).T
        # As in ``LineMatchCounts``: without predicted lines the precision is 1.
        precision = np.where(predicted > 0, predicted_matched / np.maximum(predicted, 1), 1)
        recall = np.where(target > 0, target_matched / np.maximum(target, 1), 1)
        return precision, recall

    def f1(weights: Floats) -> Floats:
        precision, recall = precision_and_recall(weights)
        total = precision + recall
        return 2 * precision * recall / np.where(total > 0, total, 1)

    return {
        "edge_f1": estimate(f1, len(matches)),
        "edge_precision": estimate(lambda weights: precision_and_recall(weights)[0], len(matches)),
        "edge_recall": estimate(lambda weights: precision_and_recall(weights)[1], len(matches)),
    }
