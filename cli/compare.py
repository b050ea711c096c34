"""``icanvas compare``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cli.console import (
    console,
    err_console,
    fetch_weights,
    make_table,
    prefect_session,
    print_locations,
)
from cli.options import Cache, Engine, Name, Store, Verbose, WeightsFile, Workers
from cli.preflight import check_hed_settings, make_absolute
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
    from sources import find_prepared_dataset
    from sources.archives import open_path
    from storage import open_store
    from storage.checkpoint_names import check_runs_exist
    from storage.runs import list_checkpoints

    # A user's slip is met before Prefect is started.
    object_store = open_store(get_settings().store)
    dataset, current = find_prepared_dataset(object_store, source, name)
    check_runs_exist(runs or (), list_checkpoints(object_store, dataset.name), dataset.name)
    if current is None:
        raise InputError(f"{dataset.name} has no pairs. Run `icanvas prepare {source}`.")
    sketch_source = "" if sketches is None else make_absolute(sketches)
    if sketch_source:
        open_path(Path(sketch_source))
    check_hed_settings(dataset.edges.threshold)
    with prefect_session(verbose):
        fetch_weights()
        from flows.compare import compare as flow
        from reports.comparison_table import (
            KEY_METRICS,
            METRICS_WARNING,
            INPUT_TITLES,
            display_names,
            format_estimate,
            list_metrics,
        )

        result = flow(
            make_absolute(source), tuple(runs or ()), sketch_source, pictures, name=name or ""
        )
    comparison, names = result.comparison, display_names(result.comparison)
    for drawings, title in INPUT_TITLES.items():
        metrics = [it for it in list_metrics(comparison, drawings) if it.key in KEY_METRICS[drawings]]
        if not metrics:
            continue
        console.print(f"\nOn {comparison.counts[drawings]} {title}, ± of a 95 % interval:")
        table = make_table("name", *(metric.title for metric in metrics))
        for shown in table.columns:
            shown.no_wrap = True
        for column in (*comparison.results, *comparison.baselines):
            figures = column.metrics.get(drawings)
            if figures:
                cells = (format_estimate(metric, figures.get(metric.key)) for metric in metrics)
                table.add_row(names[column.name], *cells)
        # On a console of its own, for others cut it to their width, and a log file has none.
        Console(file=console.file, highlight=False, width=max(console.width, 120)).print(table)
    console.print(f"\n{METRICS_WARNING}")
    for note in comparison.notes:
        err_console.print(escape(note))
    files = {"vote here": "vote.html", "sheet": "sheet.jpg", "all figures": "table.csv"}
    print_locations(
        (what, object_store.location(f"{result.folder}/{file}")) for what, file in files.items()
    )
