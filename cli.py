"""The ``icanvas`` command. Each subcommand is a few lines that call a flow or a package."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from errors import IcanvasError, InputError, SourceError
from settings import get_settings, override_settings

# Flows, and Prefect with them, take seconds to import: each command imports what it calls.

app = typer.Typer(
    name="icanvas",
    help="From picture data sets to a trained sketch-to-picture generator.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="Settings: ICANVAS_STORE, ICANVAS_CACHE, ICANVAS_ENGINE, ICANVAS_WORKERS; options win.",
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Store = Annotated[
    str | None, typer.Option(help="Where results go: file:///path or a folder.", metavar="URL")
]
Cache = Annotated[Path | None, typer.Option(help="Where weights are kept.", metavar="FOLDER")]
Engine = Annotated[str | None, typer.Option(help="What runs HED: opencv.", metavar="NAME")]
Workers = Annotated[int | None, typer.Option(help="Shards that are extracted at once.", min=1)]
Name = Annotated[str | None, typer.Option(help="What to call a folder or archive.", metavar="NAME")]
Fit = Literal["cover", "contain", "stretch"]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Prefect's log.")]


@app.callback()
def main_options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """From picture data sets to a trained sketch-to-picture generator."""
    # Read in main(), where errors arrive.


@app.command(epilog="Example: icanvas datasets")
def datasets(store: Store = None) -> None:
    """List the data sets, how far each one is, and what to run next."""
    override_settings(store=store)
    from datasets import find_prepared, load_catalogue
    from storage import open_store
    from storage.pairsets import prepared_names, read_current

    opened = open_store(get_settings().store)
    catalogue = load_catalogue()
    own = [name for name in prepared_names(opened) if name not in catalogue]
    table = _table("name", "what", "pictures", "licence", "pairs in use", "next")
    for entry in [*catalogue.values(), *(find_prepared(opened, name)[0] for name in own)]:
        current = read_current(opened, entry.name)
        table.add_row(
            entry.name,
            escape(entry.source.path if entry.name in own else entry.title),
            "?" if entry.expected is None else f"{entry.expected:,}",
            escape(entry.licence),
            "none" if current is None else current.fingerprint,
            f"icanvas {'prepare' if current is None else 'train'} {entry.name}",
        )
    out.print(table)
    out.print("\nAny folder, zip or tar works too: icanvas prepare ~/photos")


@app.command(
    epilog="Examples: icanvas prepare demo · icanvas prepare ~/photos · "
    "icanvas prepare pets.zip --name pets --fit contain"
)
def prepare(
    source: Annotated[str, typer.Argument(help="A data set's name, a folder or an archive.")],
    name: Name = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="The files are pairs already: drawing | picture.")
    ] = False,
    fit: Annotated[
        Fit | None, typer.Option(help="How pictures get onto the square, if not as the set says.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Edge probability from which on a pixel can be a line, 0 to 1."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Extract everything again, beside the old.")
    ] = False,
    store: Store = None,
    cache: Cache = None,
    engine: Engine = None,
    workers: Workers = None,
    verbose: Verbose = False,
) -> None:
    """Make training pairs (line drawing | picture) from a data set, a folder or an archive."""
    override_settings(store=store, cache=cache, engine=engine, workers=workers)
    from datasets import find, read_current_of
    from datasets.sources import open_source
    from storage import open_store

    # A user's slip is met before Prefect is started.
    dataset = find(source, name, paired, fit, threshold)
    open_source(dataset)
    read_current_of(open_store(get_settings().store), dataset)
    with _prefect(verbose):
        if not dataset.paired:
            _fetch_weights()
        from flows.prepare import prepare as flow

        made = flow(_absolute(source), name, paired, fit, threshold, refresh)
    rejected = sum(made.rejected.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in made.rejected.items())
    out.print(
        f"[bold]{made.dataset}[/]: {made.train:,} training and {made.val:,} validation pairs, "
        f"{rejected:,} rejected{f' ({reasons})' if reasons else ''}"
    )
    _print_places(
        {"pairs": made.folder, "contact sheet": made.sheet or "none", "report": made.report}
    )
    for hint in made.hints:
        err.print(f"[yellow]hint:[/] {escape(hint)}")
    if not made.train + made.val:
        raise SourceError(f"No file of {source} became a pair; the report says why.")


@app.command(epilog="Examples: icanvas train demo · icanvas train ~/photos --set epochs=5")
def train(
    source: Annotated[str, typer.Argument(help="A data set's name, a folder or an archive.")],
    name: Name = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a field of the recipe; repeatable.", metavar="FIELD=N"),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Train once more, beside a finished run.")
    ] = False,
    store: Store = None,
    cache: Cache = None,
    workers: Workers = None,
    verbose: Verbose = False,
) -> None:
    """Train a generator on a data set's pairs, preparing them first where there are none."""
    override_settings(store=store, cache=cache, workers=workers)
    recipe = dict(_parse_change(change) for change in changes or [])
    from datasets import find_prepared
    from model import make_recipe
    from storage import keys, open_store

    # A user's slip is met before Prefect is started.
    opened = open_store(get_settings().store)
    dataset, current = find_prepared(opened, source, name)
    make_recipe(dataset.recipe.model_dump(exclude_none=True), recipe)
    with _prefect(verbose):
        if not dataset.paired and current is None:
            _fetch_weights()
        from flows.train import train as flow

        run = flow(_absolute(source), recipe, name, refresh)
    figures = ", ".join(f"{figure} {value:.3f}" for figure, value in run.metrics.items())
    out.print(
        f"[bold]{run.dataset}[/]: run {run.run}, {run.epochs} epochs, {run.steps:,} steps; "
        f"{figures}"
    )
    pairs = keys.pairs_folder(run.dataset, run.pairs)
    _print_places(
        {
            "pairs": opened.location(pairs),
            "contact sheet": opened.location(f"{pairs}/contact-sheet.jpg"),
            "sample grid": run.samples,
            "metrics": run.metrics_file,
            "checkpoint": run.checkpoint,
        }
    )


@app.command(epilog="Example: icanvas weights")
def weights(cache: Cache = None) -> None:
    """Fetch and verify HED's weights ahead of time; afterwards no network is needed."""
    override_settings(cache=cache)
    from hed import fetch_default_weights, load_weights

    with _progress():
        _fetch_weights()
    table = load_weights()
    out.print(f"HED weights are in place, SHA-256 {table.digest}")
    _print_places({"file": str(fetch_default_weights())})


@app.command(epilog="Example: icanvas doctor")
def doctor(store: Store = None, cache: Cache = None) -> None:
    """Check weights, store, disk, GPU and Prefect, and say what to do about each."""
    override_settings(store=store, cache=cache)
    from flows.doctor import check_all

    table = _table("", "what", "found", "what to do")
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


@contextmanager
def _progress() -> Iterator[None]:
    from tasks.progress import show_progress

    with show_progress(err):
        yield


@contextmanager
def _prefect(verbose: bool) -> Iterator[None]:
    """Show progress and run Prefect: the server that is configured, or an embedded one."""
    if not verbose:
        # The bars tell the rest; the log goes to the API, where the UI shows it.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    with _progress():
        from tasks.embedded import start_embedded_api
        from tasks.interrupt import catch_interrupts
        from tasks.progress import bar

        catch_interrupts()

        try:
            with bar("start Prefect"):
                start_embedded_api()
            yield
        except KeyboardInterrupt:
            err.print("[bold red]icanvas:[/] interrupted; the same command goes on from here.")
            raise


def _fetch_weights() -> None:
    from hed import fetch_default_weights
    from tasks.progress import bar, move

    with bar("fetch HED weights", unit="bytes"):
        fetch_default_weights(progress=lambda done, total: move("fetch HED weights", done, total))


def _absolute(source: str) -> str:
    """Return a path so that it holds in any folder, and a name as it is."""
    from datasets import load_catalogue

    path = Path(source).expanduser()
    is_path = path.exists() and source not in load_catalogue()
    return str(path.resolve()) if is_path else source


def _parse_change(change: str) -> tuple[str, int | float]:
    field, equals, text = change.partition("=")
    try:
        value = float(text)
    except ValueError:
        equals = ""
    if not equals:
        raise InputError(f"--set {change}: write FIELD=NUMBER, as in --set epochs=5.")
    return field, int(value) if value.is_integer() else value


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        # What is copied must not break.
        table.add_column(heading, overflow="fold", no_wrap=heading in ("name", "next"))
    return table


def _print_places(places: dict[str, str]) -> None:
    width = max(map(len, places))
    for what, where in places.items():
        out.print(f"  {what:<{width}}  {escape(where)}")


if __name__ == "__main__":
    main()
