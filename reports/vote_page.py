"""The voting page of a comparison; it needs no server and no network."""

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
    """Render the voting page as self-contained HTML.

    Parameters
    ----------
    title, dataset : str, str
        The data set's title for people, and its name.
    fingerprint : str
        Fingerprint of the comparison.
    comparison : CheckpointComparison
    settings : mapping
        The settings of the comparison; displayed after voting.

    Returns
    -------
    str
        HTML.
    """
    shown = comparison.shown_results
    rows = [
        {
            "sketch": row.name,
            "drawing": inline_jpeg(row.drawing),
            "lines": inline_jpeg(row.lines),
            "nearest": inline_jpeg(row.nearest),
            "nearestName": row.nearest_name,
            "pictures": [inline_jpeg(result.tiles[index]) for result in shown],
        }
        for index, row in enumerate(comparison.rows)
    ]
    names = display_names(comparison)
    data = {
        "dataset": dataset,
        "comparison": fingerprint,
        "checkpoints": [result.name for result in shown],
        "titles": [names[result.name] for result in shown],
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
            {name: value for name, value in settings.items() if name != "sketches"}
        ),
    )
