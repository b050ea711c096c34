"""Metrics with a confidence interval for the choice of pictures.

Pictures are resampled with replacement many times (Efron's percentile bootstrap). A resample is
represented by how often it contains each picture, so that a metric of all resamples is a matrix
product. The resamples depend only on the number of pictures: two checkpoints are compared on the
same ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NUM_RESAMPLES = 1000
_CONFIDENCE = 0.95
# Fewer pictures give no meaningful interval.
_MIN_PICTURES = 3


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % confidence interval.

    Attributes
    ----------
    value : float
        The metric of the given pictures.
    low, high : float or None
        Bounds of the interval; None for fewer than three pictures.
    num_pictures : int
        Number of pictures.
    """

    value: float
    low: float | None
    high: float | None
    num_pictures: int


def bootstrap_weights(num_pictures: int) -> Floats:
    """Return how often each resample contains each picture.

    Parameters
    ----------
    num_pictures : int, at least 1

    Returns
    -------
    ndarray
        float64 (resamples, num_pictures); the same for each call.
    """
    random = np.random.default_rng([num_pictures, _NUM_RESAMPLES])
    shares = np.full(num_pictures, 1 / num_pictures)
    return random.multinomial(num_pictures, shares, size=_NUM_RESAMPLES).astype(np.float64)


def estimate(statistic: Callable[[Floats], Floats], num_pictures: int) -> Estimate:
    """Compute a metric and its confidence interval.

    Parameters
    ----------
    statistic : callable
        Takes the weight of each picture, float64 (resamples, num_pictures), and returns float64
        (resamples,), with NaN for resamples for which the metric is undefined.
    num_pictures : int, at least 1

    Returns
    -------
    Estimate

    Examples
    --------
    >>> values = np.array([1.0, 2.0, 6.0])
    >>> estimate(lambda weights: weights @ values / weights.sum(1), 3).value
    3.0
    """
    value = float(statistic(np.ones((1, num_pictures)))[0])
    return with_interval(value, statistic(bootstrap_weights(num_pictures)), num_pictures)


def with_interval(value: float, resampled: Floats, num_pictures: int) -> Estimate:
    """Combine a value with the interval of the same metric over the resamples.

    Parameters
    ----------
    value : float
    resampled : ndarray, float64, (resamples,)
    num_pictures : int

    Returns
    -------
    Estimate
    """
    if num_pictures < _MIN_PICTURES:
        return Estimate(value, None, None, num_pictures)
    tail = 50 * (1 - _CONFIDENCE)
    low, high = np.nanpercentile(resampled, (tail, 100 - tail))
    return Estimate(value, float(low), float(high), num_pictures)


def estimate_mean(values: Floats) -> Estimate:
    """Estimate the mean of one value per picture.

    Parameters
    ----------
    values : ndarray, float64, (N,)

    Returns
    -------
    Estimate
    """
    return estimate(lambda counts: counts @ values / counts.sum(1), len(values))


def mean_over_pairs(pairwise: Floats, weights: Floats) -> Floats:
    """Return the mean over all pairs of two different pictures, for each resample.

    A picture that a resample contains twice is not paired with itself, which would bias the mean.

    Parameters
    ----------
    pairwise : ndarray, float64, (N, N)
        Symmetric; a value for each two pictures.
    weights : ndarray, float64, (resamples, N)
        How often each resample contains each picture.

    Returns
    -------
    ndarray
        float64 (resamples,); NaN for resamples of a single picture.
    """
    squared_weights = np.square(weights)
    total = ((weights @ pairwise) * weights).sum(1) - squared_weights @ np.diag(pairwise)
    num_pairs = weights.sum(1) ** 2 - squared_weights.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(num_pairs > 0, total / num_pairs, np.nan)
