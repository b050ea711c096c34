"""What a comparison of checkpoints found."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from scipy.stats import rankdata

from model.evaluation.evaluator import EvaluationMetrics
from model.evaluation.metrics import METRICS

VALIDATION, SKETCHES = "validation", "sketches"

LINES_BASELINE = "lines copied onto white"
TARGETS_BASELINE = "the true pictures"

# Columns that fit on a screen beside the drawing.
MAX_SHOWN = 8

# What decides which checkpoints are shown where there are more; none of them alone.
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
    """A checkpoint, or what checkpoints are held against, with its figures.

    Attributes
    ----------
    name : ``RUN/EPOCH``, ``LINES`` or ``TRUE``.
    figures : by what the pictures were made from (``validation``, ``sketches``), and by key.
    tiles : its pictures of the rows, as JPEG of 256×256; none where it is not shown.
    promoted : whether it is in production.
    """

    name: str
    metrics: Mapping[str, EvaluationMetrics]
    tiles: tuple[bytes, ...] = ()
    promoted: bool = False


@dataclass(frozen=True)
class SketchRow:
    """A drawing that people see; all pictures are JPEG of 256×256.

    Attributes
    ----------
    name : its path.
    drawing : as it was made.
    lines : as a generator is given it.
    nearest, nearest_name : the training picture that is nearest to any column's picture, and its
        path.
    """

    name: str
    drawing: bytes
    lines: bytes
    nearest: bytes
    nearest_name: str


@dataclass(frozen=True)
class CheckpointComparison:
    """What a comparison found.

    Attributes
    ----------
    rows : what is shown.
    columns : the checkpoints, in the order in which they were trained.
    baselines : lines copied onto white, and where there are validation pairs their true pictures.
    counts : validation pairs (``validation``) and ``sketches`` that there were.
    training : training pictures that they were held against.
    notes : what is to be known, a sentence each.
    """

    rows: tuple[SketchRow, ...]
    results: tuple[CheckpointResult, ...]
    baselines: tuple[CheckpointResult, ...]
    counts: Mapping[str, int]
    num_reference: int
    notes: tuple[str, ...]

    @property
    def shown_results(self) -> tuple[CheckpointResult, ...]:
        """The checkpoints that people see."""
        return tuple(result for result in self.results if result.tiles)

    @property
    def shown_inputs(self) -> str:
        """What the rows are: ``sketches``, or ``validation`` where there are none."""
        return SKETCHES if self.counts[SKETCHES] else VALIDATION


def select_top(results: list[CheckpointResult]) -> list[CheckpointResult]:
    """Take the tiles from all but the best columns; the one in production always keeps them.

    The best are those of the best mean rank over some figures, as many of these as there are.
    """
    if len(results) <= MAX_SHOWN:
        return results
    ranks: list[float] = [0.0] * len(results)
    for drawings, key in _RANKING_METRICS:
        estimates = [result.metrics.get(drawings, {}).get(key) for result in results]
        values = [_SIGN[key] * one.value for one in estimates if one is not None]
        if len(values) == len(results):
            ranks = [sum(pair) for pair in zip(ranks, rankdata(values).tolist(), strict=True)]
    order = sorted(range(len(results)), key=lambda at: (not results[at].promoted, ranks[at]))
    shown = set(order[:MAX_SHOWN])
    return [
        column if index in shown else replace(column, tiles=())
        for index, column in enumerate(results)
    ]
