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

# Prefect takes seconds to import, so each command imports flows inside its function.


def compare(
    source: Annotated[
        str, typer.Argument(help="A data set's name, or a folder or archive that was prepared.")
    ],
    runs: Annotated[
        list[str] | None,
        typer.Option(help="Compare only checkpoints of this run; repeatable.", metavar="RUN"),
    ] = None,
    sketches: Annotated[
        str | None,
        typer.Option(
            help="Hand-drawn sketches: a folder, an archive, or the name of a prepared data set; "
            "by default those of the data set's entry.",
            metavar="DIR|ZIP|NAME",
        ),
    ] = None,
    pictures: Annotated[
        int,
        typer.Option(help="Largest number of validation pairs and of sketches.", min=1, max=1000),
    ] = 32,
    name: Name = None,
    store: Store = None,
    cache: Cache = None,
    engine: Engine = None,
    weights: WeightsFile = None,
    workers: Workers = None,
    verbose: Verbose = False,
) -> None:
    """Compare every stored checkpoint on validation pairs and on hand-drawn sketches."""
    override_settings(store=store, cache=cache, engine=engine, weights=weights, workers=workers)
    from sources import find_prepared_dataset
    from sources.archives import open_path
    from storage import open_store
    from storage.checkpoint_selection import check_runs_exist
    from storage.runs import list_checkpoints

    # Errors in the arguments are found before Prefect is started.
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
            INPUT_TITLES,
            KEY_METRICS,
            METRICS_WARNING,
            display_names,
            format_estimate,
            list_metrics,
        )

        result = flow(
            make_absolute(source), tuple(runs or ()), sketch_source, pictures, name=name or ""
        )
    comparison, names = result.comparison, display_names(result.comparison)
    for drawings, title in INPUT_TITLES.items():
        metrics = [
            metric
            for metric in list_metrics(comparison, drawings)
            if metric.key in KEY_METRICS[drawings]
        ]
        if not metrics:
            continue
        console.print(f"\nOn {comparison.counts[drawings]} {title}, with 95 % intervals:")
        table = make_table("name", *(metric.title for metric in metrics))
        for column in table.columns:
            column.no_wrap = True
        for row in (*comparison.results, *comparison.baselines):
            estimates = row.metrics.get(drawings)
            if estimates:
                cells = (format_estimate(metric, estimates.get(metric.key)) for metric in metrics)
                table.add_row(names[row.name], *cells)
        # The shared console would crop the table to the terminal's width, or to 80 in a log file.
        Console(file=console.file, highlight=False, width=max(console.width, 120)).print(table)
    console.print(f"\n{METRICS_WARNING}")
    for note in comparison.notes:
        err_console.print(escape(note))
    files = {"vote page": "vote.html", "sheet": "sheet.jpg", "metrics": "table.csv"}
    print_locations(
        (what, object_store.location(f"{result.folder}/{file}")) for what, file in files.items()
    )
