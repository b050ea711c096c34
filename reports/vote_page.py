"""The page on which a person votes; it needs no server and no network."""

from collections.abc import Mapping

from model.evaluation.comparison import CheckpointComparison
from reports.comparison_table import INPUT_TITLES, METRICS_WARNING, display_names, list_metrics
from reports.pair_set_report import flatten_settings, inline_jpeg, render_template


def render_vote_page(
    title: str,
    dataset: str,
    fingerprint: str,
    comparison: CheckpointComparison,
    settings: Mapping[str, object],
) -> str:
    """Return the page as self-contained HTML.

    Parameters
    ----------
    title, dataset : the data set, for people and as it is called.
    fingerprint, settings : the comparison's name, and what it was made with.
    comparison : what was found.
    """
    shown = comparison.shown_results
    rows = [
        {
            "sketch": row.name,
            "drawing": inline_jpeg(row.drawing),
            "lines": inline_jpeg(row.lines),
            "nearest": inline_jpeg(row.nearest),
            "nearestName": row.nearest_name,
            "pictures": [inline_jpeg(column.tiles[index]) for column in shown],
        }
        for index, row in enumerate(comparison.rows)
    ]
    names = display_names(comparison)
    data = {
        "dataset": dataset,
        "comparison": fingerprint,
        "checkpoints": [result.name for result in shown],
        "titles": [names[column.name] for column in shown],
        "rows": rows,
    }
    return render_template(
        "vote.html.j2",
        title=title,
        data=data,
        comparison=comparison,
        names=names,
        input_kinds=[
            (drawings, INPUT_TITLES[drawings], metrics)
            for drawings in INPUT_TITLES
            if (metrics := list_metrics(comparison, drawings))
        ],
        warning=METRICS_WARNING,
        settings=flatten_settings(
            {name: it for name, it in settings.items() if name != "sketches"}
        ),
    )
