"""``icanvas calibrate``."""

from typing import Annotated

import typer

from cli.console import console, fetch_weights, make_table, prefect_session, print_locations
from cli.options import (
    Cache,
    Engine,
    Name,
    Runner,
    Store,
    Verbose,
    WeightsFile,
    Workers,
)
from cli.preflight import check_hed_settings, make_absolute
from config.settings import get_settings, override_settings

# Prefect takes seconds to import, so each command imports flows inside its function.


def calibrate(
    source: Annotated[
        str, typer.Argument(help="A data set with published drawings, or a folder of pairs.")
    ],
    name: Name = None,
    pictures: Annotated[int, typer.Option(help="Number of drawings to compare.", min=1)] = 200,
    store: Store = None,
    cache: Cache = None,
    engine: Engine = None,
    weights: WeightsFile = None,
    workers: Workers = None,
    runner: Runner = None,
    verbose: Verbose = False,
) -> None:
    """Find the edge threshold for HED's weights by comparison with published drawings."""
    override_settings(
        store=store,
        cache=cache,
        engine=engine,
        weights=weights,
        workers=workers,
        runner=runner,
    )
    from sources import find_prepared_dataset
    from storage import open_store

    # Errors in the arguments are found before Prefect is started.
    object_store = open_store(get_settings().store)
    find_prepared_dataset(object_store, source, name)
    check_hed_settings(threshold=0)
    with prefect_session(verbose):
        fetch_weights()
        from flows.calibrate import calibrate as flow

        result = flow(make_absolute(source), name, pictures)
    frame, best = result.to_frame(), result.best
    table = make_table(*(column.replace("_", " ") for column in frame.columns))
    for row in frame.itertuples(index=False):
        style = "[bold]" if row[0] == best.threshold else ""
        table.add_row(*(f"{style}{value:.3f}" for value in row))
    console.print(table)
    default_threshold = (
        "none" if result.default_threshold is None else f"{result.default_threshold:.3g}"
    )
    console.print(
        f"\nBest by F1 at 2 px over {result.pictures:,} drawings: "
        f"[bold]--threshold {best.threshold:.3g}[/] (F1 {best.line_matches[-1].f1:.3f}); "
        f"default of the weights: {default_threshold}"
    )
    print_locations(
        {
            "plot": object_store.location(f"{result.folder}/plot.png"),
            "table": object_store.location(f"{result.folder}/table.csv"),
        }.items()
    )
