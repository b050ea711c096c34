"""The figures of a comparison as tables: for programs, and for people."""

from collections.abc import Sequence

import pandas as pd

from model.evaluation.comparison import SKETCHES, VALIDATION, Comparison
from model.evaluation.metrics import METRICS, Estimate, Metric

# Where there is room for a few.
BRIEF = {
    VALIDATION: ("l1", "ms_ssim", "edge_f1", "kid_efflite0"),
    SKETCHES: ("edge_f1", "diversity", "colour_distance", "kid_efflite0"),
}

TITLES = {VALIDATION: "validation pairs", SKETCHES: "drawings by hand"}

NO_METRIC_ALONE = (
    "No figure stands alone: lines that are only copied onto white win on edges, and may win on "
    "KID-EffLite0 where little was learned (see their row); a blur wins on L1. Trust what people "
    "chose first, then edges, KID-EffLite0 and colours together."
)


def as_frame(comparison: Comparison) -> pd.DataFrame:
    """Return a row for each figure.

    Columns ``checkpoint``, ``production`` (bool), ``drawings`` (``validation`` or ``sketches``),
    ``metric``, ``value``, ``low``, ``high`` (of the 95 % interval; empty of one or two) and
    ``pictures``.
    """
    rows = [
        (column.name, column.promoted, drawings, key, one.value, one.low, one.high, one.pictures)
        for column in (*comparison.columns, *comparison.baselines)
        for drawings, figures in column.figures.items()
        for key, one in figures.items()
    ]
    names = ["checkpoint", "production", "drawings", "metric", "value", "low", "high", "pictures"]
    return pd.DataFrame(rows, columns=names)


def told(comparison: Comparison, drawings: str) -> list[Metric]:
    """Return the figures that some checkpoint has of these drawings."""
    given = {key for column in comparison.columns for key in column.figures.get(drawings, {})}
    return [metric for metric in METRICS if metric.key in given]


def show(metric: Metric, found: Estimate | None) -> str:
    """Return a figure for people, with half the width of its interval: ``0.712 ± 0.021``."""
    if found is None:
        return "–"
    value = f"{found.value:.{metric.digits}f}"
    if found.low is None or found.high is None:
        return value
    return f"{value} ± {(found.high - found.low) / 2:.{metric.digits}f}"


def name_columns(comparison: Comparison) -> dict[str, str]:
    """Return each row's name for people, by its own: the one in production is said to be so."""
    return {
        column.name: f"{column.name} (in production)" if column.promoted else column.name
        for column in (*comparison.columns, *comparison.baselines)
    }


def as_markdown(comparison: Comparison) -> str:
    """Return a table for each kind of drawings, and what the figures mean."""
    parts = []
    shown: dict[str, Metric] = {}
    for drawings, title in TITLES.items():
        metrics = told(comparison, drawings)
        if not metrics:
            continue
        shown |= {metric.key: metric for metric in metrics}
        rows: list[Sequence[str]] = [["checkpoint", *(metric.title for metric in metrics)]]
        rows.append(["---"] * len(rows[0]))
        names = name_columns(comparison)
        for column in (*comparison.columns, *comparison.baselines):
            figures = column.figures.get(drawings)
            if figures:
                cells = [show(metric, figures.get(metric.key)) for metric in metrics]
                rows.append([names[column.name], *cells])
        lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        parts.append(
            f"**On {comparison.counts[drawings]} {title}**, ± of a 95 % interval:\n\n{lines}"
        )
    parts.append(NO_METRIC_ALONE)
    parts.append(
        "\n".join(
            f"- **{metric.title}** ({metric.direction} is better): {metric.meaning}"
            for metric in shown.values()
        )
    )
    return "\n\n".join(parts)
