"""``icanvas train``."""

from typing import Annotated

import typer

from cli.console import err, fetch_weights, out, print_places, run_prefect
from cli.options import (
    Cache,
    Engine,
    Name,
    Processes,
    Runner,
    Store,
    Verbose,
    WeightsFile,
    Workers,
)
from cli.preflight import absolute, check_hed
from config.errors import InputError
from config.settings import get_settings, override_settings

# Flows, and Prefect with them, take seconds to import: each command imports what it calls.


def train(
    source: Annotated[str, typer.Argument(help="A data set's name, a folder or an archive.")],
    name: Name = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change a field of the recipe; repeatable.", metavar="FIELD=VALUE"
        ),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Train once more, beside a finished run.")
    ] = False,
    processes: Processes = None,
    find_batch: Annotated[
        bool, typer.Option("--find-batch", help="Only find the largest batch that fits.")
    ] = False,
    store: Store = None,
    cache: Cache = None,
    engine: Engine = None,
    weights: WeightsFile = None,
    workers: Workers = None,
    runner: Runner = None,
    verbose: Verbose = False,
) -> None:
    """Train a generator on a data set's pairs, preparing them first where there are none.

    --engine, --weights, --workers and --runner count only where pairs are prepared.
    """
    override_settings(
        store=store,
        cache=cache,
        engine=engine,
        weights=weights,
        workers=workers,
        processes=processes,
        runner=runner,
    )
    recipe: dict[str, bool | int | float | str] = dict(map(_parse_change, changes or []))
    from config.recipe import make_recipe
    from sources import check_licence, check_own, find_prepared
    from storage import keys, open_store

    # A user's slip is met before Prefect is started.
    opened = open_store(get_settings().store)
    dataset, current = find_prepared(opened, source, name)
    complete = make_recipe(dataset.recipe.model_dump(exclude_none=True), recipe)
    if find_batch:
        from cli.batch_size import print_batches

        print_batches(dataset.name, complete)
        return
    if current is None:
        check_own(dataset, opened)
        check_licence(dataset, opened, accept=False)
    # PyTorch takes seconds to import: most slips are met before.
    from model.training.launch import count_processes

    count_processes(get_settings().processes, complete.batch)
    needs_hed = dataset.needs_edges and current is None
    if needs_hed:
        check_hed(dataset.edges.threshold)
    with run_prefect(verbose):
        if needs_hed:
            fetch_weights()
        from flows.train import train as flow

        run = flow(absolute(source), recipe, name, refresh)
    told = (name for name in run.metrics if name != "skipped" and not name.endswith("_gradient"))
    figures = ", ".join(f"{name} {run.metrics[name]:.3f}" for name in told)
    out.print(
        f"[bold]{run.dataset}[/]: run {run.run}, {run.epochs} epochs, {run.steps:,} steps; "
        f"{figures}"
    )
    if run.metrics["skipped"]:
        err.print(f"{run.metrics['skipped']:.0f} steps of the last epoch were skipped")
    if run.left_out:
        err.print(f"{run.left_out:,} training pairs were next to blank, and left out")
    pairs = keys.pairs_folder(run.dataset, run.pairs)
    places = {
        "pairs": opened.location(pairs),
        "contact sheet": opened.location(f"{pairs}/contact-sheet.jpg"),
        "sample grid": run.samples,
        **({"by hand": run.sketches} if run.sketches else {}),
        "losses": run.plot,
        "TensorBoard": run.events,
        "metrics": run.metrics_file,
        "checkpoint": run.checkpoint,
    }
    print_places(places.items())


def _parse_change(change: str) -> tuple[str, str]:
    field, equals, value = change.partition("=")
    if not equals or not value:
        raise InputError(f"--set {change}: write FIELD=VALUE, as in --set epochs=5.")
    return field, value
