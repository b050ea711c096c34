"""All figures of some pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hed import EdgeDetector
from model.evaluation.metrics import (
    Estimate,
    estimate_line_metrics,
    estimate_mean,
    l1,
    match_lines,
    ms_ssim,
    ssim,
)
from model.evaluation.metrics.colors import (
    colorfulness,
    estimate_diversity,
    estimate_histogram_distance,
    near_white_share,
)
from model.evaluation.metrics.features import FeatureExtractor
from model.evaluation.reference_set import ImageFeatures, ReferenceSet, extract_features

Image8 = NDArray[np.uint8]
EvaluationMetrics = dict[str, Estimate]


@dataclass(frozen=True)
class Evaluator:
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
    reference: ReferenceSet
    extractor: FeatureExtractor | None

    def evaluate(
        self,
        pictures: Sequence[Image8],
        drawings: Sequence[Image8],
        targets: Sequence[Image8] | None = None,
        on_picture: Callable[[], None] = lambda: None,
    ) -> tuple[EvaluationMetrics, ImageFeatures]:
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
        metrics: EvaluationMetrics = {}
        if targets is not None:
            for key, measure in (("l1", l1), ("ssim", ssim), ("ms_ssim", ms_ssim)):
                values = [measure(*pair) for pair in zip(pictures, targets, strict=True)]
                metrics[key] = estimate_mean(np.array(values))
        matches = match_lines(
            self.hed, pictures, drawings, self.threshold, self.min_pixels, on_picture
        )
        metrics |= estimate_line_metrics(matches)
        features = extract_features(pictures, self.extractor)
        if len(pictures) > 1 and self.reference.spread > 0:
            metrics["diversity"] = estimate_diversity(features.thumbnails, self.reference.spread)
        metrics["colourfulness"] = estimate_mean(np.array(list(map(colorfulness, pictures))))
        metrics["near_white"] = estimate_mean(np.array(list(map(near_white_share, pictures))))
        metrics["colour_distance"] = estimate_histogram_distance(
            features.histograms, self.reference.histogram
        )
        if len(pictures) > 1 and self.reference.kernel_distance and features.features is not None:
            metrics["kid_efflite0"] = self.reference.kernel_distance.estimate(features.features)
        return metrics, features
