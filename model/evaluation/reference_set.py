"""Training pictures that generated ones are held against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.dataset import PairDataset
from model.evaluation.metrics.colors import (
    Floats,
    distances,
    lab_histogram,
    mean_distance,
    thumbnail,
)
from model.evaluation.metrics.features import Features
from model.evaluation.metrics.kid import KernelDistance

# Of more, each two of which are compared, the mean changes little.
_SPREAD = 300


@dataclass(frozen=True)
class Sight:
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


def look_at(pictures: Sequence[NDArray[np.uint8]], features: Features | None) -> Sight:
    """Look at pictures, uint8 H×W×3 RGB; at least one."""
    return Sight(
        np.stack([thumbnail(picture) for picture in pictures]),
        np.stack([features.of(picture) for picture in pictures]) if features else None,
        np.stack([lab_histogram(picture) for picture in pictures]),
    )


class Reference:
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
        most: int,
        features: Features | None,
        on_picture: Callable[[], None] = lambda: None,
    ) -> None:
        self._pairs = pairs
        self._paths = pairs.source_paths()
        self._chosen = choose_evenly(len(pairs), most)
        self.size = len(self._chosen)
        thumbnails, seen = [], []
        total: Floats | float = 0.0
        for index in self._chosen:
            _, picture = pairs.halves(index)
            thumbnails.append(thumbnail(picture))
            total = total + lab_histogram(picture)
            if features:
                seen.append(features.of(picture))
            on_picture()
        self.histogram: Floats = np.asarray(total) / self.size
        self._thumbnails = np.stack(thumbnails)
        few = choose_evenly(self.size, _SPREAD)
        self.spread = mean_distance(self._thumbnails[few])
        self.kernel: KernelDistance | None = None
        if features and self.size > 1:
            self.kernel = KernelDistance(np.stack(seen))

    def find_nearest(self, sights: Sequence[Sight], row: int) -> tuple[str, NDArray[np.uint8]]:
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
        made = np.stack([sight.thumbnails[row] for sight in sights])
        far = distances(made, self._thumbnails)
        nearest = self._chosen[int(far.min(0).argmin())]
        return self._paths[nearest], self._pairs.halves(nearest)[1]


def choose_evenly(count: int, most: int) -> list[int]:
    """Return at most so many of the numbers below ``count``, evenly and rising."""
    chosen: list[int] = np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()
    return chosen
