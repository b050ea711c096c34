"""Training pictures that generated pictures are compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import PairDataset
from model.evaluation.metrics.colors import (
    Floats,
    lab_histogram,
    lab_thumbnail,
    mean_distance,
    pairwise_distances,
)
from model.evaluation.metrics.features import FeatureExtractor
from model.evaluation.metrics.kid import KernelDistance

# All pairs of these are compared. With more pictures the mean changes little.
_MAX_SPREAD_PICTURES = 300


@dataclass(frozen=True)
class ImageFeatures:
    """Features of N pictures.

    Attributes
    ----------
    thumbnails : ndarray, uint8, (N, 3072)
        See ``lab_thumbnail``.
    features : ndarray, float32, (N, 1280), or None
        See ``FeatureExtractor``; None without the extra ``kid``.
    histograms : ndarray, float64, (N, bins)
        See ``lab_histogram``.
    """

    thumbnails: NDArray[np.uint8]
    features: NDArray[np.float32] | None
    histograms: Floats


def extract_features(
    pictures: Sequence[NDArray[np.uint8]], extractor: FeatureExtractor | None
) -> ImageFeatures:
    """Compute the features of pictures.

    Parameters
    ----------
    pictures : sequence of ndarray, uint8, H×W×3, RGB
        At least one.
    extractor : FeatureExtractor or None
        None leaves out the features of the extra ``kid``.

    Returns
    -------
    ImageFeatures
    """
    return ImageFeatures(
        np.stack([lab_thumbnail(picture) for picture in pictures]),
        np.stack([extractor.extract(picture) for picture in pictures]) if extractor else None,
        np.stack([lab_histogram(picture) for picture in pictures]),
    )


class ReferenceSet:
    """Features of training pictures.

    Parameters
    ----------
    pairs : PairDataset
        Training pairs, at least one.
    max_pictures : int
        Maximum number of pictures, selected evenly.
    extractor : FeatureExtractor or None
        None without the extra ``kid``.
    on_picture : callable
        Called after each picture.

    Attributes
    ----------
    size : int
        Number of pictures.
    histogram : ndarray, float64, (bins,)
        Mean of their color histograms.
    spread : float
        Their ``mean_distance``; NaN for a single picture.
    kernel_distance : KernelDistance or None
        Distance to their features; None without features or for a single picture.
    """

    def __init__(
        self,
        pairs: PairDataset,
        max_pictures: int,
        extractor: FeatureExtractor | None,
        on_picture: Callable[[], None] = lambda: None,
    ) -> None:
        self._pairs = pairs
        self._paths = pairs.source_paths()
        self._indices = select_evenly(len(pairs), max_pictures)
        self.size = len(self._indices)
        thumbnails, features = [], []
        total: Floats | float = 0.0
        for index in self._indices:
            _, picture = pairs.load_pair(index)
            thumbnails.append(lab_thumbnail(picture))
            total = total + lab_histogram(picture)
            if extractor:
                features.append(extractor.extract(picture))
            on_picture()
        self.histogram: Floats = np.asarray(total) / self.size
        self._thumbnails = np.stack(thumbnails)
        spread_indices = select_evenly(self.size, _MAX_SPREAD_PICTURES)
        self.spread = mean_distance(self._thumbnails[spread_indices])
        self.kernel_distance: KernelDistance | None = None
        if extractor and self.size > 1:
            self.kernel_distance = KernelDistance(np.stack(features))

    def nearest_picture(
        self, features: Sequence[ImageFeatures], row: int
    ) -> tuple[str, NDArray[np.uint8]]:
        """Return the training picture nearest to any result's picture of one row.

        The distance is that of colors at 32×32 px, which is 0 for a memorized picture. With
        features, nearly every picture of the demo data set had the same nearest one, a rooster.

        Parameters
        ----------
        features : sequence of ImageFeatures
            One for each result; at least one.
        row : int
            Index of the picture in each of them.

        Returns
        -------
        path, picture : str, ndarray
            Path in the data set, and uint8 256×256×3 RGB.
        """
        thumbnails = np.stack([sight.thumbnails[row] for sight in features])
        distances = pairwise_distances(thumbnails, self._thumbnails)
        nearest = self._indices[int(distances.min(0).argmin())]
        return self._paths[nearest], self._pairs.load_pair(nearest)[1]


def select_evenly(count: int, max_count: int) -> list[int]:
    """Return at most ``max_count`` indices below ``count``, evenly spaced and ascending.

    Parameters
    ----------
    count, max_count : int

    Returns
    -------
    list of int

    Examples
    --------
    >>> select_evenly(10, 4)
    [0, 3, 6, 9]
    >>> select_evenly(2, 4)
    [0, 1]
    """
    indices: list[int] = (
        np.linspace(0, count - 1, min(max_count, count)).round().astype(int).tolist()
    )
    return indices
