"""The ``icanvas`` command. Each subcommand is a few lines that call a flow or a package."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cli_datasets import listing
from cli_models import export_model
from cli_store import export, gc, use
from cli_up import deploy, up
from console import (
    err,
    fetch_weights,
    make_table,
    out,
    print_places,
    run_prefect,
    show_progress_bars,
)
from errors import IcanvasError, InputError, SourceError
from options import (
    AcceptLicense,
    AllowHttp,
    AllowPartial,
    Archive,
    Cache,
    Engine,
    Everything,
    Fit,
    Limit,
    Name,
    Newest,
    Paired,
    Processes,
    ReExtract,
    Runner,
    Store,
    Tables,
    Threshold,
    Verbose,
    WeightsFile,
    Where,
    Workers,
)
from settings import get_settings, override_settings

# Flows, and Prefect with them, take seconds to import: each command imports what it calls.

app = typer.Typer(
    name="icanvas",
    help="From picture data sets to a trained sketch-to-picture generator.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="Settings: ICANVAS_STORE, _CACHE, _ENGINE, _WEIGHTS, _WORKERS, _CORES, _PRECISION, "
    "_RUNNER, _RUNNER_ADDRESS, _RUNNER_PROCESSES, _PROCESSES, _CATALOGUE, _ACCEPT_LICENSES, "
    "_ALLOW_HTTP, _WHEN_BUSY; an option of the same name wins.",
)

app.add_typer(listing, name="datasets")


@app.callback()
def main_options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """From picture data sets to a trained sketch-to-picture generator."""
    # Read in main(), where errors arrive.


@app.command(
    epilog="Examples: icanvas prepare demo · icanvas prepare ~/photos · "
    "icanvas prepare pets.zip --name pets --fit contain · "
    "icanvas prepare car --archive ~/Downloads/resized_DVM_v2.zip --where body_type=Saloon"
)
def prepare(
    source: Annotated[str, typer.Argument(help="A data set's name, a folder or an archive.")],
    name: Name = None,
    paired: Paired = False,
    re_extract: ReExtract = False,
    fit: Fit = None,
    threshold: Threshold = None,
    archive: Archive = None,
    everything: Everything = False,
    where: Where = None,
    tables: Tables = None,
    accept_license: AcceptLicense = False,
    allow_partial: AllowPartial = False,
    allow_http: AllowHttp = False,
    limit: Limit = None,
    newest: Newest = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Extract everything again, beside the old.")
    ] = False,
    store: Store = None,
    cache: Cache = None,
    engine: Engine = None,
    weights: WeightsFile = None,
    workers: Workers = None,
    runner: Runner = None,
    verbose: Verbose = False,
) -> None:
    """Make training pairs (line drawing | picture) from a data set, a folder or an archive."""
    override_settings(
        store=store,
        cache=cache,
        engine=engine,
        weights=weights,
        workers=workers,
        runner=runner,
        allow_http=allow_http or None,
    )
    from datasets import (
        check_licence,
        check_own,
        find,
        make_choices,
        read_current_of,
        state_licence,
    )
    from datasets.entry import LocalSource
    from storage import keys, open_store
    from storage.rawsets import read_origin

    # A user's slip is met before Prefect is started.
    choices = make_choices(
        name=name,
        paired=paired,
        re_extract=re_extract,
        fit=fit,
        threshold=threshold,
        archive=archive,
        tables=tables,
        everything=everything,
        limit=limit,
        where=_parse_where(where or []),
    )
    dataset = find(source, choices)
    opened = open_store(get_settings().store)
    check_own(dataset, opened)
    check_licence(dataset, opened, accept_license)
    read_current_of(opened, dataset)
    if dataset.needs_edges:
        _check_hed(dataset.edges.threshold)
    with run_prefect(verbose):
        if dataset.needs_edges:
            fetch_weights()
        from flows.prepare import prepare as flow

        made = flow(_absolute(source), choices, refresh, accept_license, allow_partial, newest)
    rejected = sum(made.rejected.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in made.rejected.items())
    out.print(
        f"[bold]{made.dataset}[/]: {made.train:,} training and {made.val:,} validation pairs, "
        f"{rejected:,} rejected{f' ({reasons})' if reasons else ''}"
    )
    places = {"pairs": made.folder, "contact sheet": made.sheet or "none", "report": made.report}
    if made.comparison is not None:
        places["against the old"] = made.comparison
    if not isinstance(dataset.source, LocalSource):
        origin = read_origin(opened, keys.newest_origin(dataset.name))
        places["licence"] = state_licence(dataset, origin)
    print_places(places.items())
    for hint in made.hints:
        err.print(f"[yellow]hint:[/] {escape(hint)}")
    if not made.train + made.val:
        raise SourceError(f"No file of {source} became a pair; the report says why.")


@app.command(
    epilog="Examples: icanvas train demo · icanvas train ~/photos --set epochs=5 · "
    "icanvas train shoes --find-batch"
)
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
    from datasets import check_licence, check_own, find_prepared
    from model import make_recipe
    from model.launch import count_processes
    from storage import keys, open_store

    # A user's slip is met before Prefect is started.
    opened = open_store(get_settings().store)
    dataset, current = find_prepared(opened, source, name)
    complete = make_recipe(dataset.recipe.model_dump(exclude_none=True), recipe)
    if find_batch:
        from cli_batch import print_batches

        print_batches(dataset.name, complete)
        return
    count_processes(get_settings().processes, complete.batch)
    if current is None:
        check_own(dataset, opened)
        check_licence(dataset, opened, accept=False)
    needs_hed = dataset.needs_edges and current is None
    if needs_hed:
        _check_hed(dataset.edges.threshold)
    with run_prefect(verbose):
        if needs_hed:
            fetch_weights()
        from flows.train import train as flow

        run = flow(_absolute(source), recipe, name, refresh)
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


@app.command(epilog="Examples: icanvas calibrate ~/pairs · icanvas calibrate pairs --pictures 500")
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
    from datasets import find_prepared
    from storage import open_store

    # A user's slip is met before Prefect is started.
    opened = open_store(get_settings().store)
    find_prepared(opened, source, name)
    _check_hed(threshold=0)
    with run_prefect(verbose):
        fetch_weights()
        from flows.calibrate import calibrate as flow

        found = flow(_absolute(source), name, pictures)
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


app.command(
    "export-model",
    epilog="Examples: icanvas export-model demo ~/generator · "
    "icanvas export-model demo ~/generator --checkpoint 0123456789ab/12",
)(export_model)

app.command(epilog="Examples: icanvas export demo ~/pairs · icanvas export demo ~/hf --format hf")(
    export
)


@app.command(epilog="Example: icanvas weights")
def weights(cache: Cache = None) -> None:
    """Fetch and verify HED's weights ahead of time; afterwards no network is needed."""
    override_settings(cache=cache)
    from hed import fetch_default_weights, load_weights

    with show_progress_bars():
        fetch_weights()
    table = load_weights()
    out.print(f"HED weights are in place, SHA-256 {table.digest}")
    print_places({"file": str(fetch_default_weights())}.items())


app.command(
    epilog="Examples: icanvas gc · icanvas gc --yes · icanvas gc --older-than 1d --keep-pairs 0"
)(gc)


app.command(epilog="Examples: icanvas use demo · icanvas use demo 0123456789ab")(use)

app.command(epilog="Examples: icanvas up · icanvas up --port 4300")(up)

app.command(epilog="Example: PREFECT_API_URL=http://prefect:4200/api icanvas deploy")(deploy)


@app.command(epilog="Example: icanvas doctor")
def doctor(store: Store = None, cache: Cache = None) -> None:
    """Check weights, store, disk, GPU and Prefect, and say what to do about each."""
    override_settings(store=store, cache=cache)
    from flows.doctor import check_all

    table = make_table("", "what", "found", "what to do")
    worst = 0
    for check in check_all():
        mark = {"good": "[green]✓[/]", "note": "[yellow]•[/]", "bad": "[red]✗[/]"}[check.state]
        table.add_row(mark, check.name, escape(check.found), escape(check.advice))
        worst = max(worst, check.exit_code)
    out.print(table)
    raise typer.Exit(worst)


def main() -> None:
    """Run the command line; every error that a user can meet becomes one line and an exit code."""
    # Before PyTorch is imported: threads that spin while they wait slow a shared machine down.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Anywhere on the line, for it is added to a line that failed.
    words = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(words) < len(sys.argv) - 1
    try:
        app(words, standalone_mode=True)
    except IcanvasError as error:
        if debug:
            raise
        err.print(f"[bold red]icanvas:[/] {escape(str(error))}")
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        err.print(
            f"[bold red]icanvas:[/] unexpected {type(error).__name__}: {escape(str(error))} "
            "The same command with --debug shows where."
        )
        sys.exit(1)


def _check_hed(threshold: float | None) -> None:
    """Meet a wrong runner, engine or weights file before Prefect starts; say what auto takes."""
    from flows.runners import check_runner
    from hed import choose_engine
    from tasks.detector import load

    check_runner()

    settings = get_settings()
    # Kept for the flow, which asks for the same.
    weights = None if settings.weights is None else load(settings.weights)
    if weights is not None:
        weights.threshold_or(threshold)
    name, why = choose_engine(settings.engine, weights)
    if settings.engine == "auto":
        err.print(f"engine: {name} ({why})")


def _absolute(source: str) -> str:
    """Return a path so that it holds in any folder, and a name as it is."""
    from datasets import load_catalogue

    path = Path(source).expanduser()
    is_path = path.exists() and source not in load_catalogue()
    return str(path.resolve()) if is_path else source


def _parse_where(changes: list[str]) -> dict[str, tuple[str, ...]]:
    where: dict[str, tuple[str, ...]] = {}
    for change in changes:
        column, equals, value = change.partition("=")
        if not equals or not value:
            raise InputError(f"--where {change}: write COLUMN=VALUE, as in --where quality=P.")
        where[column] = (*where.get(column, ()), value)
    return where


def _parse_change(change: str) -> tuple[str, str]:
    field, equals, value = change.partition("=")
    if not equals or not value:
        raise InputError(f"--set {change}: write FIELD=VALUE, as in --set epochs=5.")
    return field, value


if __name__ == "__main__":
    main()
