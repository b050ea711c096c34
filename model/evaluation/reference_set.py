"""Training pictures that generated ones are held against."""

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

# Of more, each two of which are compared, the mean changes little.
_MAX_SPREAD_PICTURES = 300


@dataclass(frozen=True)
class ImageFeatures:
    """What is looked at in some pictures.

    Attributes
    ----------
    thumbnails : uint8 (N, 3072).
    features : float32 (N, 1280); None without the extra ``kid``.
    histograms : float64 (N, colours).
    """

    thumbnails: NDArray[np.uint8]
    features: NDArray[np.float32] | None
    histograms: Floats


def extract_features(
    pictures: Sequence[NDArray[np.uint8]], extractor: FeatureExtractor | None
) -> ImageFeatures:
    """Look at pictures, uint8 H×W×3 RGB; at least one."""
    return ImageFeatures(
        np.stack([lab_thumbnail(picture) for picture in pictures]),
        np.stack([extractor.extract(picture) for picture in pictures]) if extractor else None,
        np.stack([lab_histogram(picture) for picture in pictures]),
    )


class ReferenceSet:
    """Training pictures, of which only what is looked at is kept.

    Parameters
    ----------
    pairs : the training pairs; at least one.
    most : as many are taken, evenly.
    features : None without the extra ``kid``.
    on_picture : called after each.

    Attributes
    ----------
    size : how many were taken.
    histogram : of their colours: float64 (colours,).
    spread : ``mean_distance`` of them; NaN of a single one.
    kernel : distance to their features; None without features, or of a single one.
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
        """Return the training picture that is nearest to a row's picture of any of some columns.

        By their colours at 32×32 px: what was learned by heart is the same there. By features
        nearly every picture of the demo had one nearest, a rooster.

        Parameters
        ----------
        sights : of the pictures of each column; at least one.
        row : which of their pictures.

        Returns
        -------
        str, ndarray
            Its path in the data set, and uint8 256×256×3.
        """
        thumbnails = np.stack([sight.thumbnails[row] for sight in features])
        distances = pairwise_distances(thumbnails, self._thumbnails)
        nearest = self._indices[int(distances.min(0).argmin())]
        return self._paths[nearest], self._pairs.load_pair(nearest)[1]


def select_evenly(count: int, max_count: int) -> list[int]:
    """Return at most so many of the numbers below ``count``, evenly and rising."""
    indices: list[int] = (
        np.linspace(0, count - 1, min(max_count, count)).round().astype(int).tolist()
    )
    return indices
