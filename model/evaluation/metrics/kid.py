"""Kernel distance of two sets of pictures, computed on their features.

Bińkowski et al., "Demystifying MMD GANs" (2018): the squared maximum mean discrepancy with a cubic
kernel, unbiased for any number of pictures. The authors' KID uses features of Inception. Other
features give another scale, so the metric's name states which are used.
"""

import numpy as np
from numpy.typing import NDArray

from model.evaluation.metrics.bootstrap import (
    Estimate,
    Floats,
    bootstrap_weights,
    mean_over_pairs,
    with_interval,
)


class KernelDistance:
    """Kernel distance to a fixed set of pictures.

    Parameters
    ----------
    features : ndarray, float32, (M, D)
        Features of at least two pictures.
    """

    def __init__(self, features: NDArray[np.float32]) -> None:
        self._features = features
        within = _kernel(features, features)
        self._within = float(mean_over_pairs(within, np.ones((1, len(features))))[0])
        # Reversed, so that the set is resampled independently of an equally large set of pictures.
        self._weights = bootstrap_weights(len(features))[::-1]
        self._resampled = mean_over_pairs(within, self._weights)

    def estimate(self, features: NDArray[np.float32]) -> Estimate:
        """Estimate the distance of pictures from the set.

        The expected value is 0 if both are samples of one distribution; the estimate is then
        negative as often as positive.

        Parameters
        ----------
        features : ndarray, float32, (N, D)
            Features of N pictures, N at least 2.

        Returns
        -------
        Estimate
        """
        count = len(features)
        within, across = _kernel(features, features), _kernel(features, self._features)
        value = mean_over_pairs(within, np.ones((1, count)))[0] + self._within - 2 * across.mean()
        weights = bootstrap_weights(count)
        between = ((weights @ across) * self._weights).sum(1) / (count * across.shape[1])
        resampled = mean_over_pairs(within, weights) + self._resampled - 2 * between
        return with_interval(float(value), resampled, count)


def _kernel(some: NDArray[np.float32], others: NDArray[np.float32]) -> Floats:
    """Return (x·y / D + 1)³ of each two rows: (N, D) and (M, D) to float64 (N, M)."""
    product: Floats = some.astype(np.float64) @ others.astype(np.float64).T
    kernel: Floats = (product / some.shape[1] + 1) ** 3
    return kernel
