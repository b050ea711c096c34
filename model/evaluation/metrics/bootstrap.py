"""Figures with an interval that tells how much they owe to which pictures there happened to be.

The pictures are drawn again, with replacement, many times (Efron's percentile bootstrap). A draw is
how often each picture came, so that a figure of all draws is a product of matrices. The draws of
so many pictures are always the same ones: two checkpoints are compared on the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DRAWS = 1000
_LEVEL = 0.95
# Two pictures tell next to nothing about others.
_FEWEST = 3


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Attributes
    ----------
    value : of the pictures as they are.
    low, high : the interval; None of fewer than three pictures.
    pictures : how many it is of.
    """

    value: float
    low: float | None
    high: float | None
    pictures: int


def draw_counts(pictures: int) -> Floats:
    """Return how often each of so many pictures came in each draw: float64 (draws, pictures)."""
    random = np.random.default_rng([pictures, _DRAWS])
    shares = np.full(pictures, 1 / pictures)
    return random.multinomial(pictures, shares, size=_DRAWS).astype(np.float64)


def estimate(figure: Callable[[Floats], Floats], pictures: int) -> Estimate:
    """Return a figure of some pictures with its interval.

    Parameters
    ----------
    figure : takes how often each picture counts, float64 (draws, pictures), and returns float64
        (draws,), NaN for a draw that it cannot be told of.
    pictures : how many there are, at least 1.
    """
    value = float(figure(np.ones((1, pictures)))[0])
    return with_interval(value, figure(draw_counts(pictures)), pictures)


def with_interval(value: float, drawn: Floats, pictures: int) -> Estimate:
    """Return a figure with the interval that the same figure of the draws, (draws,), gives."""
    if pictures < _FEWEST:
        return Estimate(value, None, None, pictures)
    tail = 50 * (1 - _LEVEL)
    low, high = np.nanpercentile(drawn, (tail, 100 - tail))
    return Estimate(value, float(low), float(high), pictures)


def estimate_mean(values: Floats) -> Estimate:
    """Return the mean of values, float64 (N,), of N pictures."""
    return estimate(lambda counts: counts @ values / counts.sum(1), len(values))


def mean_of_pairs(between: Floats, counts: Floats) -> Floats:
    """Return the mean over all pairs of two different pictures, for each draw.

    A picture that came twice is no pair with itself: else the mean would be biased.

    Parameters
    ----------
    between : float64 (N, N), symmetric: something of each two pictures.
    counts : float64 (draws, N): how often each came.

    Returns
    -------
    ndarray
        float64 (draws,); NaN where only one picture came.
    """
    of_itself = np.square(counts)
    total = ((counts @ between) * counts).sum(1) - of_itself @ np.diag(between)
    pairs = counts.sum(1) ** 2 - of_itself.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, total / pairs, np.nan)
