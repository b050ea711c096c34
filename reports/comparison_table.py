"""Tables of a comparison's metrics, for programs and for people."""

from collections.abc import Sequence

import pandas as pd

from model.evaluation.comparison import SKETCHES, VALIDATION, CheckpointComparison
from model.evaluation.metrics import METRICS, Estimate, Metric

# The metrics for narrow tables.
KEY_METRICS = {
    VALIDATION: ("l1", "ms_ssim", "edge_f1", "kid_efflite0"),
    SKETCHES: ("edge_f1", "diversity", "colour_distance", "kid_efflite0"),
}

INPUT_TITLES = {VALIDATION: "validation pairs", SKETCHES: "hand-drawn sketches"}

METRICS_WARNING = (
    "No metric suffices alone: lines that are only copied onto white win on edges, and may win on "
    "KID-EffLite0 if little was learned (see their row); a blur wins on L1. Trust the votes of "
    "people first, then edges, KID-EffLite0 and colors together."
)


def comparison_to_frame(comparison: CheckpointComparison) -> pd.DataFrame:
    """Return a table with one row per metric.

    Parameters
    ----------
    comparison : CheckpointComparison

    Returns
    -------
    pandas.DataFrame
        Columns ``checkpoint``, ``production`` (bool), ``drawings`` (``validation`` or
        ``sketches``), ``metric``, ``value``, ``low``, ``high`` (bounds of the 95 % interval; empty
        for fewer than three pictures) and ``pictures`` (their number).
    """
    rows = [
        (
            result.name,
            result.promoted,
            drawings,
            key,
            one.value,
            one.low,
            one.high,
            one.num_pictures,
        )
        for result in (*comparison.results, *comparison.baselines)
        for drawings, metrics in result.metrics.items()
        for key, one in metrics.items()
    ]
    names = ["checkpoint", "production", "drawings", "metric", "value", "low", "high", "pictures"]
    return pd.DataFrame(rows, columns=names)


def list_metrics(comparison: CheckpointComparison, drawings: str) -> list[Metric]:
    """Return the metrics that at least one checkpoint has for these drawings.

    Parameters
    ----------
    comparison : CheckpointComparison
    drawings : {"validation", "sketches"}

    Returns
    -------
    list of Metric
    """
    keys = {key for result in comparison.results for key in result.metrics.get(drawings, {})}
    return [metric for metric in METRICS if metric.key in keys]


def format_estimate(metric: Metric, estimate: Estimate | None) -> str:
    """Format a metric for people, with half the width of its interval.

    Parameters
    ----------
    metric : Metric
    estimate : Estimate or None
        None gives a dash.

    Returns
    -------
    str

    Examples
    --------
    >>> from model.evaluation.metrics import METRICS, Estimate
    >>> format_estimate(METRICS[0], Estimate(0.712, 0.69, 0.732, 8))
    '0.712 ± 0.021'
    """
    if estimate is None:
        return "–"
    value = f"{estimate.value:.{metric.decimals}f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ± {(estimate.high - estimate.low) / 2:.{metric.decimals}f}"


def display_names(comparison: CheckpointComparison) -> dict[str, str]:
    """Return the name of each result for people, by its own name.

    Parameters
    ----------
    comparison : CheckpointComparison

    Returns
    -------
    dict of str to str
        The promoted checkpoint's name ends with "(in production)".
    """
    return {
        result.name: f"{result.name} (in production)" if result.promoted else result.name
        for result in (*comparison.results, *comparison.baselines)
    }


def comparison_to_markdown(comparison: CheckpointComparison) -> str:
    """Return a table for each kind of drawings and the descriptions of the metrics.

    Parameters
    ----------
    comparison : CheckpointComparison

    Returns
    -------
    str
        Markdown.
    """
    parts = []
    shown: dict[str, Metric] = {}
    for drawings, title in INPUT_TITLES.items():
        metrics = list_metrics(comparison, drawings)
        if not metrics:
            continue
        shown |= {metric.key: metric for metric in metrics}
        rows: list[Sequence[str]] = [["checkpoint", *(metric.title for metric in metrics)]]
        rows.append(["---"] * len(rows[0]))
        names = display_names(comparison)
        for result in (*comparison.results, *comparison.baselines):
            estimates = result.metrics.get(drawings)
            if estimates:
                cells = [format_estimate(metric, estimates.get(metric.key)) for metric in metrics]
                rows.append([names[result.name], *cells])
        lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        parts.append(
            f"**On {comparison.counts[drawings]} {title}**, ± of a 95 % interval:\n\n{lines}"
        )
    parts.append(METRICS_WARNING)
    parts.append(
        "\n".join(
            f"- **{metric.title}** ({metric.direction} is better): {metric.description}"
            for metric in shown.values()
        )
    )
    return "\n\n".join(parts)
