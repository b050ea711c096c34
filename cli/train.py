"""``icanvas train``."""

from typing import Annotated

import typer

from cli.console import console, err_console, fetch_weights, prefect_session, print_locations
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
from cli.preflight import check_hed_settings, make_absolute
from config.errors import InputError
from config.settings import get_settings, override_settings

# Prefect takes seconds to import, so each command imports flows inside its function.


def train(
    source: Annotated[str, typer.Argument(help="A data set's name, a folder or an archive.")],
    name: Name = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change a field of the recipe; repeatable.", metavar="FIELD=VALUE"
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train again, beside a finished run.")
    ] = False,
    processes: Processes = None,
    find_batch: Annotated[
        bool,
        typer.Option("--find-batch", help="Only find the largest batch that fits into memory."),
    ] = False,
    store: Store = None,
    cache: Cache = None,
    engine: Engine = None,
    weights: WeightsFile = None,
    workers: Workers = None,
    runner: Runner = None,
    verbose: Verbose = False,
) -> None:
    """Train a generator on a data set's pairs, and prepare them first if there are none.

    --engine, --weights, --workers and --runner apply only to the preparation.
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
    from sources import check_license, check_local_inputs, find_prepared_dataset
    from storage import keys, open_store

    # Errors in the arguments are found before Prefect is started.
    object_store = open_store(get_settings().store)
    dataset, current = find_prepared_dataset(object_store, source, name)
    full_recipe = make_recipe(dataset.recipe.model_dump(exclude_unset=True), recipe)
    if find_batch:
        from cli.batch_size import print_batch_sizes

        print_batch_sizes(dataset.name, full_recipe)
        return
    if current is None:
        check_local_inputs(dataset, object_store)
        check_license(dataset, object_store, accept=False)
    # PyTorch takes seconds to import, so most arguments are checked first.
    from model.training.launch import count_processes

    count_processes(get_settings().processes, full_recipe.batch)
    needs_hed = dataset.needs_edges and current is None
    if needs_hed:
        check_hed_settings(dataset.edges.threshold)
    with prefect_session(verbose):
        if needs_hed:
            fetch_weights()
        from flows.train import train as flow

        run = flow(make_absolute(source), recipe, name, force)
    metric_names = (
        name for name in run.metrics if name != "skipped" and not name.endswith("_gradient")
    )
    metrics = ", ".join(f"{name} {run.metrics[name]:.3f}" for name in metric_names)
    console.print(
        f"[bold]{run.dataset}[/]: run {run.run}, {run.epochs} epochs, {run.steps:,} steps; "
        f"{metrics}"
    )
    if run.metrics["skipped"]:
        err_console.print(f"{run.metrics['skipped']:.0f} steps of the last epoch were skipped")
    if run.num_blank:
        err_console.print(f"{run.num_blank:,} nearly blank training pairs were excluded")
    pairs = keys.pairs_folder(run.dataset, run.pairs)
    locations = {
        "pairs": object_store.location(pairs),
        "contact sheet": object_store.location(f"{pairs}/contact-sheet.jpg"),
        "sample grid": run.samples,
        **({"sketch grid": run.sketches} if run.sketches else {}),
        "losses": run.plot,
        "TensorBoard": run.events,
        "metrics": run.metrics_file,
        "checkpoint": run.checkpoint,
    }
    print_locations(locations.items())


def _parse_change(change: str) -> tuple[str, str]:
    field, equals, value = change.partition("=")
    if not equals or not value:
        raise InputError(f"--set {change}: write FIELD=VALUE, as in --set epochs=5.")
    return field, value
