"""Colors and diversity of pictures: metrics that reveal a collapsed generator.

A generator has collapsed if its pictures are all the same, gray, or mostly white.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.evaluation.metrics.bootstrap import (
    Estimate,
    bootstrap_weights,
    estimate,
    mean_over_pairs,
    with_interval,
)

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]

_NEAR_WHITE_LEVEL = 240
_THUMBNAIL_SIZE = 32
# Bin sizes of lightness, and of a and b, in OpenCV's 8-bit Lab.
_LIGHTNESS_STEP, _CHROMA_STEP = 32, 16


def colorfulness(picture: Picture) -> float:
    """Return the colorfulness of a picture: 0 for gray, over 100 for the strongest colors.

    M3 of Hasler and Süsstrunk, "Measuring colourfulness in natural images" (2003).

    Parameters
    ----------
    picture : ndarray, uint8, H×W×3, RGB

    Returns
    -------
    float
    """
    red, green, blue = np.moveaxis(picture.astype(np.float64), 2, 0)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def near_white_share(picture: Picture) -> float:
    """Return the share of pixels with at least 240 in each channel, in [0, 1].

    Parameters
    ----------
    picture : ndarray, uint8, H×W×3, RGB

    Returns
    -------
    float
    """
    return float((picture.min(2) >= _NEAR_WHITE_LEVEL).mean())


def lab_histogram(picture: Picture) -> Floats:
    """Return the share of pixels in each color bin; the shares add up to 1.

    The bins divide CIE Lab in 8 steps of lightness and 17 of a and b each. Gray is in the center of
    a bin, so that a slight tint does not change the bin.

    Parameters
    ----------
    picture : ndarray, uint8, H×W×3, RGB

    Returns
    -------
    ndarray
        float64 (bins,).
    """
    light, a, b = np.moveaxis(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.intp), 2, 0)
    steps = 256 // _CHROMA_STEP + 1
    a, b = ((chroma + _CHROMA_STEP // 2) // _CHROMA_STEP for chroma in (a, b))
    bins = (light // _LIGHTNESS_STEP * steps + a) * steps + b
    counts = np.bincount(bins.ravel(), minlength=256 // _LIGHTNESS_STEP * steps * steps)
    shares: Floats = counts / bins.size
    return shares


def estimate_histogram_distance(histograms: Floats, target: Floats) -> Estimate:
    """Estimate the share of pixels that need another color to match target colors, in [0, 1].

    This is half the sum of absolute differences of two histograms (total variation). Resampled
    pictures are further from any colors than all pictures are; the interval is corrected by the
    mean of this bias.

    Parameters
    ----------
    histograms : ndarray, float64, (N, bins)
        Of N pictures; see ``lab_histogram``.
    target : ndarray, float64, (bins,)

    Returns
    -------
    Estimate
    """

    def distance(weights: Floats) -> Floats:
        resampled: Floats = weights @ histograms / weights.sum(1, keepdims=True)
        difference: Floats = np.abs(resampled - target).sum(1) / 2
        return difference

    count = len(histograms)
    value = float(distance(np.ones((1, count)))[0])
    resampled = distance(bootstrap_weights(count))
    return with_interval(value, np.clip(resampled - resampled.mean() + value, 0, 1), count)


def lab_thumbnail(picture: Picture) -> Picture:
    """Return a picture scaled to 32×32 px in CIE Lab, flattened.

    Parameters
    ----------
    picture : ndarray, uint8, H×W×3, RGB

    Returns
    -------
    ndarray
        uint8 (3072,).
    """
    small = cv2.resize(picture, (_THUMBNAIL_SIZE, _THUMBNAIL_SIZE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.uint8, copy=False).ravel()


def pairwise_distances(some: NDArray[np.generic], others: NDArray[np.generic]) -> Floats:
    """Return the mean absolute difference of each two rows.

    Parameters
    ----------
    some, others : ndarray, (N, D) and (M, D)

    Returns
    -------
    ndarray
        float64 (N, M).

    Examples
    --------
    >>> pairwise_distances(np.array([[0, 0]]), np.array([[0, 0], [2, 4]])).tolist()
    [[0.0, 3.0]]
    """
    one, other = (torch.from_numpy(values.astype(np.float32)) for values in (some, others))
    return np.asarray(torch.cdist(one, other, p=1).numpy() / some.shape[1], np.float64)


def mean_distance(thumbnails: NDArray[np.uint8]) -> float:
    """Return the mean distance of each two thumbnails.

    Parameters
    ----------
    thumbnails : ndarray, uint8, (N, 3072)

    Returns
    -------
    float
        NaN for fewer than two thumbnails.
    """
    pairwise = pairwise_distances(thumbnails, thumbnails)
    return float(mean_over_pairs(pairwise, np.ones((1, len(thumbnails))))[0])


def estimate_diversity(thumbnails: NDArray[np.uint8], reference_distance: float) -> Estimate:
    """Estimate the mean distance of pictures relative to that of training pictures.

    Parameters
    ----------
    thumbnails : ndarray, uint8, (N, 3072)
        Of at least two pictures.
    reference_distance : float
        ``mean_distance`` of training pictures.

    Returns
    -------
    Estimate
        1 for pictures as diverse as the training pictures, 0 for identical ones.
    """
    pairwise = pairwise_distances(thumbnails, thumbnails) / reference_distance
    return estimate(lambda weights: mean_over_pairs(pairwise, weights), len(thumbnails))
