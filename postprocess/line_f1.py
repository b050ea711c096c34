"""How far two line drawings agree, by lines that lie within a few pixels of each other."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import InputError


@dataclass(frozen=True)
class Agreement:
    """Counts of line pixels; add those of many drawings for the figures of all.

    Attributes
    ----------
    found, found_right : line pixels of the drawing judged, and those of them near a wanted one.
    wanted, wanted_found : line pixels of the wanted drawing, and those near a found one.
    """

    found: int = 0
    found_right: int = 0
    wanted: int = 0
    wanted_found: int = 0

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            self.found + other.found,
            self.found_right + other.found_right,
            self.wanted + other.wanted,
            self.wanted_found + other.wanted_found,
        )

    @property
    def precision(self) -> float:
        """Share of what was found that is right, in [0, 1]; 1 where nothing was found."""
        return self.found_right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of what is wanted that was found, in [0, 1]; 1 where nothing is wanted."""
        return self.wanted_found / self.wanted if self.wanted else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def compare_drawings(
    drawing: NDArray[np.uint8], wanted: NDArray[np.uint8], tolerance: int
) -> Agreement:
    """Count the lines of two drawings that agree.

    A line pixel agrees when the other drawing has one in the square of 2·tolerance + 1 px around
    it. As for BSDS500's boundary F-measure, but several pixels may agree with one: a drawing is
    judged by where its lines run, not by how they are paired.

    Parameters
    ----------
    drawing, wanted : uint8 H×W, 0 on lines; the one to judge and the one to judge it by.
    tolerance : distance along an axis in pixels, 0 or more.

    Raises
    ------
    InputError
        If the drawings differ in size or the tolerance is negative.
    """
    if drawing.shape != wanted.shape or drawing.ndim != 2:
        raise InputError(
            f"Drawings of different sizes cannot be compared: {drawing.shape} and {wanted.shape}."
        )
    if tolerance < 0:
        raise InputError(f"The tolerance must be 0 px or more, got {tolerance}.")
    square = np.ones((2 * tolerance + 1, 2 * tolerance + 1), np.uint8)
    found, right = drawing == 0, wanted == 0
    # The least value around a pixel is 0 where there is a line.
    near_found, near_right = (cv2.erode(lines, square) == 0 for lines in (drawing, wanted))
    return Agreement(
        int(found.sum()),
        int((found & near_right).sum()),
        int(right.sum()),
        int((right & near_found).sum()),
    )
