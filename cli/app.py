"""The Typer application: all subcommands, and ``main``, which turns errors into exit codes."""

import os
import sys
from typing import Annotated

import typer
from rich.markup import escape

from cli.calibrate import calibrate
from cli.compare import compare
from cli.console import (
    console,
    err_console,
    fetch_weights,
    make_table,
    print_locations,
    show_progress_bars,
)
from cli.datasets import datasets_app
from cli.export import export
from cli.export_model import export_model
from cli.gc import gc
from cli.missing_packages import format_missing
from cli.options import Cache, Store
from cli.prepare import prepare
from cli.promote import promote, rollback
from cli.serve import serve
from cli.train import train
from cli.up import deploy, up
from cli.use import use
from config.errors import IcanvasError
from config.settings import override_settings

# Prefect takes seconds to import, so each command imports flows inside its function.

app = typer.Typer(
    name="icanvas",
    help="From picture data sets to a trained sketch-to-picture generator.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="Settings: ICANVAS_STORE, _CACHE, _ENGINE, _WEIGHTS, _WORKERS, _CORES, _PRECISION, "
    "_RUNNER, _RUNNER_ADDRESS, _RUNNER_PROCESSES, _PROCESSES, _CATALOGUE, _ACCEPT_LICENSES, "
    "_ALLOW_HTTP, _WHEN_BUSY, _SHARD_CACHE_GB, _STORE_WEB_URL (docs/reference.md). "
    "An option of the same name takes precedence.",
)

app.add_typer(datasets_app, name="datasets")


@app.callback()
def main_options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """From picture data sets to a trained sketch-to-picture generator."""
    # --debug is read in main(), which handles errors.


app.command(
    epilog="Examples: icanvas prepare demo · icanvas prepare ~/photos · "
    "icanvas prepare pets.zip --name pets --fit contain · "
    "icanvas prepare car --archive ~/Downloads/resized_DVM_v2.zip --where body_type=Saloon"
)(prepare)

app.command(
    epilog="Examples: icanvas train demo · icanvas train ~/photos --set epochs=5 · "
    "icanvas train shoes --find-batch"
)(train)

app.command(epilog="Examples: icanvas calibrate ~/pairs · icanvas calibrate pairs --pictures 500")(
    calibrate
)

app.command(
    epilog="Examples: icanvas compare demo · icanvas compare shoes --sketches ~/drawings.zip · "
    "icanvas compare shoes --runs 0123456789ab --pictures 200"
)(compare)

app.command(
    epilog="Examples: icanvas promote demo · icanvas promote demo last · "
    "icanvas promote demo 0123456789ab/12 --note 'cats look like cats'"
)(promote)

app.command(epilog="Examples: icanvas rollback demo · icanvas rollback demo --to 0123456789ab/12")(
    rollback
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
    """Fetch and verify HED's weights, so that later commands need no network."""
    override_settings(cache=cache)
    from hed import fetch_default_weights, load_weights

    with show_progress_bars():
        fetch_weights()
    table = load_weights()
    console.print(f"HED weights are available, SHA-256 {table.digest}")
    print_locations({"file": str(fetch_default_weights())}.items())


app.command(
    epilog="Examples: icanvas gc · icanvas gc --yes · icanvas gc --older-than 1d --keep-pairs 0"
)(gc)


app.command(epilog="Examples: icanvas use demo · icanvas use demo 0123456789ab")(use)

app.command(epilog="Examples: icanvas up · icanvas up --port 4300")(up)

app.command(epilog="Example: PREFECT_API_URL=http://prefect:4200/api icanvas deploy")(deploy)


app.command(
    epilog="Examples: icanvas serve · icanvas serve --host 0.0.0.0 --port 80 --safety · "
    "Settings: ICANVAS_SERVE_* (docs/reference.md)"
)(serve)


@app.command(epilog="Example: icanvas doctor")
def doctor(store: Store = None, cache: Cache = None) -> None:
    """Check weights, store, disk, GPU and Prefect, and print what to do about each problem."""
    override_settings(store=store, cache=cache)
    from flows.doctor import run_checks

    table = make_table("", "check", "result", "what to do")
    worst = 0
    for check in run_checks():
        mark = {"good": "[green]✓[/]", "note": "[yellow]•[/]", "bad": "[red]✗[/]"}[check.state]
        table.add_row(mark, check.name, escape(check.result), escape(check.advice))
        worst = max(worst, check.exit_code)
    console.print(table)
    raise typer.Exit(worst)


def main() -> None:
    """Run the command line.

    An ``IcanvasError`` is printed as one line, and its ``exit_code`` is the process's. A missing
    package of an extra gives exit code 2, any other exception 1. ``--debug`` prints the traceback
    instead.
    """
    # Must be set before PyTorch is imported: threads that spin while waiting slow down other
    # processes of a shared machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Accepted at any position, because users append it to a command that failed.
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(arguments, standalone_mode=True)
    except IcanvasError as error:
        if debug:
            raise
        err_console.print(f"[bold red]icanvas:[/] {escape(str(error))}")
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        message = format_missing(error, arguments[0] if arguments else "")
        if debug or message is None:
            raise
        err_console.print(f"[bold red]icanvas:[/] {escape(message)}")
        sys.exit(2)
    except Exception as error:
        if debug:
            raise
        err_console.print(
            f"[bold red]icanvas:[/] unexpected {type(error).__name__}: {escape(str(error))} "
            "Run the command again with --debug to see the traceback."
        )
        sys.exit(1)
