"""The page on which a person votes; it needs no server and no network."""

from collections.abc import Mapping

from model.evaluation.comparison import Comparison
from reports.comparison_table import NO_METRIC_ALONE, TITLES, name_columns, told
from reports.pair_set_report import flatten, inline_jpeg, render


def render_page(
    title: str, dataset: str, fingerprint: str, comparison: Comparison, facts: Mapping[str, object]
) -> str:
    """Return the page as self-contained HTML.

    Parameters
    ----------
    title, dataset : the data set, for people and as it is called.
    fingerprint, facts : the comparison's name, and what it was made with.
    comparison : what was found.
    """
    shown = comparison.shown
    rows = [
        {
            "sketch": row.name,
            "drawing": inline_jpeg(row.drawing),
            "lines": inline_jpeg(row.lines),
            "nearest": inline_jpeg(row.nearest),
            "nearestName": row.nearest_name,
            "pictures": [inline_jpeg(column.tiles[at]) for column in shown],
        }
        for at, row in enumerate(comparison.rows)
    ]
    names = name_columns(comparison)
    data = {
        "dataset": dataset,
        "comparison": fingerprint,
        "checkpoints": [column.name for column in shown],
        "titles": [names[column.name] for column in shown],
        "rows": rows,
    }
    return render(
        "vote.html.j2",
        title=title,
        data=data,
        comparison=comparison,
        names=names,
        kinds=[
            (drawings, TITLES[drawings], metrics)
            for drawings in TITLES
            if (metrics := told(comparison, drawings))
        ],
        shown_are=TITLES[comparison.shown_are],
        warning=NO_METRIC_ALONE,
        facts=flatten({name: it for name, it in facts.items() if name != "sketches"}),
    )
