"""What a comparison of checkpoints found."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from scipy.stats import rankdata

from model.evaluation.evaluator import Figures
from model.evaluation.metrics import METRICS

VALIDATION, SKETCHES = "validation", "sketches"

LINES = "lines copied onto white"
TRUE = "the true pictures"

# Columns that fit on a screen beside the drawing.
COLUMNS = 8

# What decides which checkpoints are shown where there are more; none of them alone.
_RANKED_BY = (
    (SKETCHES, "edge_f1"),
    (SKETCHES, "kid_efflite0"),
    (SKETCHES, "colour_distance"),
    (VALIDATION, "ms_ssim"),
    (VALIDATION, "kid_efflite0"),
)
_SIGN = {metric.key: 1 if metric.better == "lower" else -1 for metric in METRICS}


@dataclass(frozen=True)
class Column:
    """A checkpoint, or what checkpoints are held against, with its figures.

    Attributes
    ----------
    name : ``RUN/EPOCH``, ``LINES`` or ``TRUE``.
    figures : by what the pictures were made from (``validation``, ``sketches``), and by key.
    tiles : its pictures of the rows, as JPEG of 256×256; none where it is not shown.
    promoted : whether it is in production.
    """

    name: str
    figures: Mapping[str, Figures]
    tiles: tuple[bytes, ...] = ()
    promoted: bool = False


@dataclass(frozen=True)
class Row:
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
class Comparison:
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

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    baselines: tuple[Column, ...]
    counts: Mapping[str, int]
    training: int
    notes: tuple[str, ...]

    @property
    def shown(self) -> tuple[Column, ...]:
        """The checkpoints that people see."""
        return tuple(column for column in self.columns if column.tiles)

    @property
    def shown_are(self) -> str:
        """What the rows are: ``sketches``, or ``validation`` where there are none."""
        return SKETCHES if self.counts[SKETCHES] else VALIDATION


def hide_surplus(columns: list[Column]) -> list[Column]:
    """Take the tiles from all but the best columns; the one in production always keeps them.

    The best are those of the best mean rank over some figures, as many of these as there are.
    """
    if len(columns) <= COLUMNS:
        return columns
    ranks: list[float] = [0.0] * len(columns)
    for drawings, key in _RANKED_BY:
        found = [column.figures.get(drawings, {}).get(key) for column in columns]
        values = [_SIGN[key] * one.value for one in found if one is not None]
        if len(values) == len(columns):
            ranks = [sum(pair) for pair in zip(ranks, rankdata(values).tolist(), strict=True)]
    order = sorted(range(len(columns)), key=lambda at: (not columns[at].promoted, ranks[at]))
    kept = set(order[:COLUMNS])
    return [
        column if at in kept else replace(column, tiles=()) for at, column in enumerate(columns)
    ]
