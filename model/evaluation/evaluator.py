"""Computation of all metrics for a set of pictures."""

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
    """Computes the metrics of pictures.

    Attributes
    ----------
    hed : EdgeDetector
    threshold : float in [0, 1]
    min_pixels : int
        Convert edges to lines, as in the training drawings; see ``clean_edges``.
    reference : ReferenceSet
        Training pictures to compare with.
    extractor : FeatureExtractor or None
        None without the extra ``kid``.
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
        """Return the metrics and features of pictures.

        Metrics that cannot be computed are left out: those against true pictures without
        ``targets``, those between pictures for a single picture, and those of features without the
        extra ``kid``.

        Parameters
        ----------
        pictures : sequence of ndarray, uint8, 256×256×3, RGB
            At least one.
        drawings : sequence of ndarray, uint8, 256×256
            The drawings that the pictures were generated from.
        targets : sequence of ndarray, uint8, 256×256×3, RGB, or None
            The true pictures.
        on_picture : callable
            Called after the edge detection of each picture, which takes longest.

        Returns
        -------
        metrics : dict of str to Estimate
            By ``Metric.key``.
        features : ImageFeatures
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
