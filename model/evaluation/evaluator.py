"""All figures of some pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hed import EdgeDetector
from model.evaluation.metrics import (
    Estimate,
    estimate_lines,
    estimate_mean,
    follow_lines,
    l1,
    ms_ssim,
    ssim,
)
from model.evaluation.metrics.colors import (
    colourfulness,
    estimate_diversity,
    estimate_histogram_distance,
    near_white,
)
from model.evaluation.metrics.features import Features
from model.evaluation.reference_set import Reference, Sight, look_at

Image8 = NDArray[np.uint8]
Figures = dict[str, Estimate]


@dataclass(frozen=True)
class Judge:
    """What pictures are judged by.

    Attributes
    ----------
    hed : finds edges.
    threshold, min_pixels : edges become lines by these, as the training drawings did.
    reference : training pictures.
    features : None without the extra ``kid``.
    """

    hed: EdgeDetector
    threshold: float
    min_pixels: int
    reference: Reference
    features: Features | None

    def judge(
        self,
        pictures: Sequence[Image8],
        drawings: Sequence[Image8],
        targets: Sequence[Image8] | None = None,
        on_picture: Callable[[], None] = lambda: None,
    ) -> tuple[Figures, Sight]:
        """Return the figures of pictures by ``Metric.key``, and what is looked at in them.

        A figure that cannot be told is not among them: one against the true pictures without these,
        one between pictures of a single one, one of features without the extra ``kid``.

        Parameters
        ----------
        pictures : uint8 256×256×3, at least one.
        drawings : what they were made from, uint8 256×256.
        targets : what they should be, uint8 256×256×3.
        on_picture : called after each one's edges were found, which takes longest.
        """
        figures: Figures = {}
        if targets is not None:
            for key, measure in (("l1", l1), ("ssim", ssim), ("ms_ssim", ms_ssim)):
                each = [measure(*pair) for pair in zip(pictures, targets, strict=True)]
                figures[key] = estimate_mean(np.array(each))
        lines = follow_lines(
            self.hed, pictures, drawings, self.threshold, self.min_pixels, on_picture
        )
        figures |= estimate_lines(lines)
        sight = look_at(pictures, self.features)
        if len(pictures) > 1 and self.reference.spread > 0:
            figures["diversity"] = estimate_diversity(sight.thumbnails, self.reference.spread)
        figures["colourfulness"] = estimate_mean(np.array(list(map(colourfulness, pictures))))
        figures["near_white"] = estimate_mean(np.array(list(map(near_white, pictures))))
        figures["colour_distance"] = estimate_histogram_distance(
            sight.histograms, self.reference.histogram
        )
        if len(pictures) > 1 and self.reference.kernel and sight.features is not None:
            figures["kid_efflite0"] = self.reference.kernel.estimate(sight.features)
        return figures, sight
