"""Precision, recall and F1 of a line drawing against a target drawing, within a tolerance."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import InputError


@dataclass(frozen=True)
class LineMatchCounts:
    """Counts of line pixels. Add the counts of several drawings to pool them.

    Attributes
    ----------
    num_predicted : int
        Line pixels of the evaluated drawing.
    num_predicted_matched : int
        Those of them that are near a line of the target drawing.
    num_target : int
        Line pixels of the target drawing.
    num_target_matched : int
        Those of them that are near a line of the evaluated drawing.

    Examples
    --------
    >>> counts = LineMatchCounts(10, 5, 8, 4) + LineMatchCounts(10, 10, 2, 2)
    >>> counts.precision, counts.recall
    (0.75, 0.6)
    """

    num_predicted: int = 0
    num_predicted_matched: int = 0
    num_target: int = 0
    num_target_matched: int = 0

    def __add__(self, other: "LineMatchCounts") -> "LineMatchCounts":
        return LineMatchCounts(
            self.num_predicted + other.num_predicted,
            self.num_predicted_matched + other.num_predicted_matched,
            self.num_target + other.num_target,
            self.num_target_matched + other.num_target_matched,
        )

    @property
    def precision(self) -> float:
        """Share of predicted line pixels that match, in [0, 1]; 1 without predicted pixels."""
        return self.num_predicted_matched / self.num_predicted if self.num_predicted else 1.0

    @property
    def recall(self) -> float:
        """Share of target line pixels that match, in [0, 1]; 1 without target pixels."""
        return self.num_target_matched / self.num_target if self.num_target else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def compare_drawings(
    drawing: NDArray[np.uint8], target: NDArray[np.uint8], tolerance: int
) -> LineMatchCounts:
    """Count the matching line pixels of two drawings.

    A line pixel matches if the other drawing has a line pixel in the square of 2·tolerance + 1 px
    around it. Unlike in BSDS500's boundary F-measure, several pixels may match the same one: the
    result measures where lines run, not how pixels are paired.

    Parameters
    ----------
    drawing, target : ndarray, uint8, H×W
        The drawing to evaluate and the one to compare with; 0 on lines.
    tolerance : int, pixels, at least 0
        Largest distance along each axis.

    Returns
    -------
    LineMatchCounts

    Raises
    ------
    InputError
        If the drawings differ in size or the tolerance is negative.
    """
    if drawing.shape != target.shape or drawing.ndim != 2:
        raise InputError(
            f"Drawings of different sizes cannot be compared: {drawing.shape} and {target.shape}."
        )
    if tolerance < 0:
        raise InputError(f"The tolerance must be 0 px or more, got {tolerance}.")
    square = np.ones((2 * tolerance + 1, 2 * tolerance + 1), np.uint8)
    predicted_lines, target_lines = drawing == 0, target == 0
    # Erosion takes the minimum around a pixel, which is 0 near a line.
    near_predicted, near_target = (cv2.erode(lines, square) == 0 for lines in (drawing, target))
    return LineMatchCounts(
        int(predicted_lines.sum()),
        int((predicted_lines & near_target).sum()),
        int(target_lines.sum()),
        int((target_lines & near_predicted).sum()),
    )
