"""Metrics of generated pictures, each with a confidence interval. NumPy in and out."""

from model.evaluation.metrics.bootstrap import Estimate, estimate, estimate_mean
from model.evaluation.metrics.definitions import METRICS, Metric
from model.evaluation.metrics.lines import estimate_line_metrics, match_lines
from model.evaluation.metrics.paired import l1, ms_ssim, ssim

__all__ = [
    "METRICS",
    "Estimate",
    "Metric",
    "estimate",
    "estimate_line_metrics",
    "estimate_mean",
    "l1",
    "match_lines",
    "ms_ssim",
    "ssim",
]
