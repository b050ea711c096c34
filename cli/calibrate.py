"""``icanvas calibrate``."""

from typing import Annotated

import typer

from cli.console import fetch_weights, make_table, out, print_places, run_prefect
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
from cli.preflight import absolute, check_hed
from config.settings import get_settings, override_settings

# Flows, and Prefect with them, take seconds to import: each command imports what it calls.


def calibrate(
    source: Annotated[
        str, typer.Argument(help="A data set with published drawings, or a folder of pairs.")
    ],
    name: Name = None,
    pictures: Annotated[int, typer.Option(help="How many drawings to compare.", min=1)] = 200,
    store: Store = None,
    cache: Cache = None,
    engine: Engine = None,
    weights: WeightsFile = None,
    workers: Workers = None,
    runner: Runner = None,
    verbose: Verbose = False,
) -> None:
    """Find the edge threshold that goes with HED's weights, by published drawings."""
    override_settings(
        store=store,
        cache=cache,
        engine=engine,
        weights=weights,
        workers=workers,
        runner=runner,
    )
    from sources import find_prepared
    from storage import open_store

    # A user's slip is met before Prefect is started.
    opened = open_store(get_settings().store)
    find_prepared(opened, source, name)
    check_hed(threshold=0)
    with run_prefect(verbose):
        fetch_weights()
        from flows.calibrate import calibrate as flow

        found = flow(absolute(source), name, pictures)
    frame, best = found.as_frame(), found.best
    table = make_table(*(column.replace("_", " ") for column in frame.columns))
    for row in frame.itertuples(index=False):
        marks = "[bold]" if row[0] == best.threshold else ""
        table.add_row(*(f"{marks}{value:.3f}" for value in row))
    out.print(table)
    own = "none" if found.default is None else f"{found.default:.3g}"
    out.print(
        f"\nBest by F1 at 2 px over {found.pictures:,} drawings: "
        f"[bold]--threshold {best.threshold:.3g}[/] (F1 {best.agreements[-1].f1:.3f}); "
        f"the weights' own: {own}"
    )
    print_places(
        {
            "plot": opened.location(f"{found.folder}/plot.png"),
            "table": opened.location(f"{found.folder}/table.csv"),
        }.items()
    )
