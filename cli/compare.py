"""``icanvas compare``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cli.console import err, fetch_weights, make_table, out, print_places, run_prefect
from cli.options import Cache, Engine, Name, Store, Verbose, WeightsFile, Workers
from cli.preflight import absolute, check_hed
from config.errors import InputError
from config.settings import get_settings, override_settings

# Flows, and Prefect with them, take seconds to import: each command imports what it calls.


def compare(
    source: Annotated[
        str, typer.Argument(help="A data set's name, or a folder or archive that was prepared.")
    ],
    runs: Annotated[
        list[str] | None,
        typer.Option(help="Checkpoints of this run only; repeatable.", metavar="RUN"),
    ] = None,
    sketches: Annotated[
        str | None,
        typer.Option(
            help="Drawings by hand: a folder, an archive, or the name of a prepared set of them; "
            "the data set's own when left out.",
            metavar="DIR|ZIP|NAME",
        ),
    ] = None,
    pictures: Annotated[
        int, typer.Option(help="Validation pairs and drawings at most.", min=1, max=1000)
    ] = 32,
    name: Name = None,
    store: Store = None,
    cache: Cache = None,
    engine: Engine = None,
    weights: WeightsFile = None,
    workers: Workers = None,
    verbose: Verbose = False,
) -> None:
    """Compare every kept checkpoint on validation pairs and on drawings by hand."""
    override_settings(store=store, cache=cache, engine=engine, weights=weights, workers=workers)
    from sources import find_prepared
    from sources.archives import open_path
    from storage import open_store
    from storage.checkpoint_names import check_runs
    from storage.runs import list_checkpoints

    # A user's slip is met before Prefect is started.
    opened = open_store(get_settings().store)
    dataset, current = find_prepared(opened, source, name)
    check_runs(runs or (), list_checkpoints(opened, dataset.name), dataset.name)
    if current is None:
        raise InputError(f"{dataset.name} has no pairs. Run `icanvas prepare {source}`.")
    drawn = "" if sketches is None else absolute(sketches)
    if drawn:
        open_path(Path(drawn))
    check_hed(dataset.edges.threshold)
    with run_prefect(verbose):
        fetch_weights()
        from flows.compare import compare as flow
        from reports.comparison_table import (
            BRIEF,
            NO_METRIC_ALONE,
            TITLES,
            name_columns,
            show,
            told,
        )

        found = flow(absolute(source), tuple(runs or ()), drawn, pictures, name=name or "")
    comparison, names = found.comparison, name_columns(found.comparison)
    for drawings, title in TITLES.items():
        metrics = [it for it in told(comparison, drawings) if it.key in BRIEF[drawings]]
        if not metrics:
            continue
        out.print(f"\nOn {comparison.counts[drawings]} {title}, ± of a 95 % interval:")
        table = make_table("name", *(metric.title for metric in metrics))
        for shown in table.columns:
            shown.no_wrap = True
        for column in (*comparison.columns, *comparison.baselines):
            figures = column.figures.get(drawings)
            if figures:
                cells = (show(metric, figures.get(metric.key)) for metric in metrics)
                table.add_row(names[column.name], *cells)
        # On a console of its own, for others cut it to their width, and a log file has none.
        Console(file=out.file, highlight=False, width=max(out.width, 120)).print(table)
    out.print(f"\n{NO_METRIC_ALONE}")
    for note in comparison.notes:
        err.print(escape(note))
    files = {"vote here": "vote.html", "sheet": "sheet.jpg", "all figures": "table.csv"}
    print_places((what, opened.location(f"{found.folder}/{file}")) for what, file in files.items())
