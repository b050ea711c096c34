"""The result of a comparison of checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from scipy.stats import rankdata

from model.evaluation.evaluator import EvaluationMetrics
from model.evaluation.metrics import METRICS

VALIDATION, SKETCHES = "validation", "sketches"

LINES_BASELINE = "lines copied onto white"
TARGETS_BASELINE = "the true pictures"

# Number of checkpoints that fit on a screen beside the drawing.
MAX_SHOWN = 8

# Their mean rank decides which checkpoints are displayed if there are more.
_RANKING_METRICS = (
    (SKETCHES, "edge_f1"),
    (SKETCHES, "kid_efflite0"),
    (SKETCHES, "colour_distance"),
    (VALIDATION, "ms_ssim"),
    (VALIDATION, "kid_efflite0"),
)
_SIGN = {metric.key: 1 if metric.better == "lower" else -1 for metric in METRICS}


@dataclass(frozen=True)
class CheckpointResult:
    """Metrics and pictures of a checkpoint or a baseline.

    Attributes
    ----------
    name : str
        ``RUN/EPOCH``, ``LINES_BASELINE`` or ``TARGETS_BASELINE``.
    metrics : mapping of str to EvaluationMetrics
        By the kind of inputs (``validation``, ``sketches``), then by metric key.
    tiles : tuple of bytes
        Its pictures of the displayed rows, as JPEG of 256×256; empty if it is not displayed.
    promoted : bool
        Whether it is in production.
    """

    name: str
    metrics: Mapping[str, EvaluationMetrics]
    tiles: tuple[bytes, ...] = ()
    promoted: bool = False


@dataclass(frozen=True)
class SketchRow:
    """A displayed drawing. All pictures are JPEG of 256×256.

    Attributes
    ----------
    name : str
        Path of the drawing.
    drawing : bytes
        The original sketch.
    lines : bytes
        The generator's input.
    nearest : bytes
        The training picture that is nearest to any result's picture.
    nearest_name : str
        Its path.
    """

    name: str
    drawing: bytes
    lines: bytes
    nearest: bytes
    nearest_name: str


@dataclass(frozen=True)
class CheckpointComparison:
    """The result of a comparison.

    Attributes
    ----------
    rows : tuple of SketchRow
        The displayed drawings.
    results : tuple of CheckpointResult
        The checkpoints, in the order in which they were trained.
    baselines : tuple of CheckpointResult
        Lines copied onto white and, with validation pairs, their true pictures.
    counts : mapping of str to int
        Number of validation pairs (``validation``) and of sketches (``sketches``).
    num_reference : int
        Number of training pictures that were compared with.
    notes : tuple of str
        Notes for people, one sentence each.
    """

    rows: tuple[SketchRow, ...]
    results: tuple[CheckpointResult, ...]
    baselines: tuple[CheckpointResult, ...]
    counts: Mapping[str, int]
    num_reference: int
    notes: tuple[str, ...]

    @property
    def shown_results(self) -> tuple[CheckpointResult, ...]:
        """The displayed checkpoints."""
        return tuple(result for result in self.results if result.tiles)

    @property
    def shown_inputs(self) -> str:
        """Kind of the displayed rows: ``sketches``, or ``validation`` if there are no sketches."""
        return SKETCHES if self.counts[SKETCHES] else VALIDATION


def select_top(results: list[CheckpointResult]) -> list[CheckpointResult]:
    """Remove the tiles of all but the best checkpoints; the promoted one always keeps them.

    The best checkpoints have the best mean rank over several metrics, or over those of them that
    all checkpoints have.

    Parameters
    ----------
    results : list of CheckpointResult

    Returns
    -------
    list of CheckpointResult
        In the same order.
    """
    if len(results) <= MAX_SHOWN:
        return results
    ranks: list[float] = [0.0] * len(results)
    for drawings, key in _RANKING_METRICS:
        estimates = [result.metrics.get(drawings, {}).get(key) for result in results]
        values = [_SIGN[key] * one.value for one in estimates if one is not None]
        if len(values) == len(results):
            ranks = [sum(pair) for pair in zip(ranks, rankdata(values).tolist(), strict=True)]
    order = sorted(
        range(len(results)), key=lambda index: (not results[index].promoted, ranks[index])
    )
    shown = set(order[:MAX_SHOWN])
    return [
        result if index in shown else replace(result, tiles=())
        for index, result in enumerate(results)
    ]
