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

_NUM_RESAMPLES = 1000
_CONFIDENCE = 0.95
# Two pictures tell next to nothing about others.
_MIN_PICTURES = 3


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
    num_pictures: int


def bootstrap_weights(num_pictures: int) -> Floats:
    """Return how often each of so many pictures came in each draw: float64 (draws, pictures)."""
    random = np.random.default_rng([num_pictures, _NUM_RESAMPLES])
    shares = np.full(num_pictures, 1 / num_pictures)
    return random.multinomial(num_pictures, shares, size=_NUM_RESAMPLES).astype(np.float64)


def estimate(statistic: Callable[[Floats], Floats], num_pictures: int) -> Estimate:
    """Return a figure of some pictures with its interval.

    Parameters
    ----------
    figure : takes how often each picture counts, float64 (draws, pictures), and returns float64
        (draws,), NaN for a draw that it cannot be told of.
    pictures : how many there are, at least 1.
    """
    value = float(statistic(np.ones((1, num_pictures)))[0])
    return with_interval(value, statistic(bootstrap_weights(num_pictures)), num_pictures)


def with_interval(value: float, resampled: Floats, num_pictures: int) -> Estimate:
    """Return a figure with the interval that the same figure of the draws, (draws,), gives."""
    if num_pictures < _MIN_PICTURES:
        return Estimate(value, None, None, num_pictures)
    tail = 50 * (1 - _CONFIDENCE)
    low, high = np.nanpercentile(resampled, (tail, 100 - tail))
    return Estimate(value, float(low), float(high), num_pictures)


def estimate_mean(values: Floats) -> Estimate:
    """Return the mean of values, float64 (N,), of N pictures."""
    return estimate(lambda counts: counts @ values / counts.sum(1), len(values))


def mean_over_pairs(pairwise: Floats, weights: Floats) -> Floats:
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
    squared_weights = np.square(weights)
    total = ((weights @ pairwise) * weights).sum(1) - squared_weights @ np.diag(pairwise)
    num_pairs = weights.sum(1) ** 2 - squared_weights.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(num_pairs > 0, total / num_pairs, np.nan)
