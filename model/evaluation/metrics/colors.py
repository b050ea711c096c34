"""Colours of pictures, and how much pictures differ: figures that show when a generator collapsed.

It has where it draws the same whatever it is given, greys everything, or leaves the sheet white.
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
# Steps of lightness, and of a and b, in OpenCV's 8-bit Lab.
_LIGHTNESS_STEP, _CHROMA_STEP = 32, 16


def colorfulness(picture: Picture) -> float:
    """Return how colourful a picture (uint8 H×W×3 RGB) is: 0 for grey, over 100 for the most.

    M3 of Hasler and Süsstrunk, "Measuring colourfulness in natural images" (2003).
    """
    red, green, blue = np.moveaxis(picture.astype(np.float64), 2, 0)
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()))


def near_white_share(picture: Picture) -> float:
    """Return the share of a picture's pixels (uint8 H×W×3 RGB) with 240 or more in each channel."""
    return float((picture.min(2) >= _NEAR_WHITE_LEVEL).mean())


def lab_histogram(picture: Picture) -> Floats:
    """Return the shares of a picture's pixels (uint8 H×W×3 RGB) by colour; they add up to 1.

    In CIE Lab, in 8 steps of lightness and 17 of a and b each; grey is in the middle of a step, so
    that a trace of colour is no other colour.
    """
    light, a, b = np.moveaxis(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.intp), 2, 0)
    steps = 256 // _CHROMA_STEP + 1
    a, b = ((chroma + _CHROMA_STEP // 2) // _CHROMA_STEP for chroma in (a, b))
    bins = (light // _LIGHTNESS_STEP * steps + a) * steps + b
    counts = np.bincount(bins.ravel(), minlength=256 // _LIGHTNESS_STEP * steps * steps)
    shares: Floats = counts / bins.size
    return shares


def estimate_histogram_distance(histograms: Floats, target: Floats) -> Estimate:
    """Return the share of pixels that would have to change colour for wanted colours, in [0, 1].

    Half the sum of absolute differences of two histograms (total variation). Pictures that were
    drawn again are further from any other colours than all of them: the interval is of the draws
    less what they are further in the mean.

    Parameters
    ----------
    histograms : float64 (N, colours), of N pictures.
    wanted : float64 (colours,).
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
    """Return a picture (uint8 H×W×3 RGB) small and in CIE Lab: uint8 (3072,)."""
    small = cv2.resize(picture, (_THUMBNAIL_SIZE, _THUMBNAIL_SIZE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.uint8, copy=False).ravel()


def pairwise_distances(some: NDArray[np.generic], others: NDArray[np.generic]) -> Floats:
    """Return the mean absolute difference of each two rows: (N, D) and (M, D) to float64 (N, M)."""
    one, other = (torch.from_numpy(values.astype(np.float32)) for values in (some, others))
    return np.asarray(torch.cdist(one, other, p=1).numpy() / some.shape[1], np.float64)


def mean_distance(thumbnails: NDArray[np.uint8]) -> float:
    """Return how far thumbnails (N, 3072) are from each other in the mean; NaN for fewer than 2."""
    pairwise = pairwise_distances(thumbnails, thumbnails)
    return float(mean_over_pairs(pairwise, np.ones((1, len(thumbnails))))[0])


def estimate_diversity(thumbnails: NDArray[np.uint8], reference_distance: float) -> Estimate:
    """Return how far pictures are from each other, as a share of what is usual.

    Parameters
    ----------
    thumbnails : uint8 (N, 3072), of at least two pictures.
    usual : ``mean_distance`` of training pictures.
    """
    pairwise = pairwise_distances(thumbnails, thumbnails) / reference_distance
    return estimate(lambda counts: mean_over_pairs(pairwise, counts), len(thumbnails))
