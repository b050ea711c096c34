"""What the ``icanvas`` command prints with: two consoles, tables, progress around a Prefect run."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from config.settings import get_settings

console = Console(highlight=False, soft_wrap=True)
err_console = Console(stderr=True, highlight=False, soft_wrap=True)


# Prefect and HED take seconds to import: each function imports what it calls.


@contextmanager
def show_progress_bars() -> Iterator[None]:
    """Show every bar for the time of the block."""
    from tasks.progress import show_progress

    with show_progress(err_console):
        yield


@contextmanager
def prefect_session(verbose: bool) -> Iterator[None]:
    """Show progress and run Prefect: the server that is configured, or an embedded one."""
    if not verbose:
        # The bars tell the rest; the log goes to the API, where the UI shows it.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    with show_progress_bars():
        from tasks.embedded_server import start_embedded_api
        from tasks.interrupts import handle_sigint
        from tasks.progress import progress_bar

        handle_sigint()

        try:
            with progress_bar("start Prefect"):
                start_embedded_api()
            yield
        except KeyboardInterrupt:
            err_console.print(
                "[bold red]icanvas:[/] interrupted; the same command goes on from here."
            )
            raise


def fetch_weights() -> None:
    """Fetch the default weights with a bar, unless they are there or others are set."""
    if get_settings().weights is not None:
        return
    from hed import fetch_default_weights
    from tasks.progress import progress_bar, set_progress

    with progress_bar("fetch HED weights", unit="bytes"):
        fetch_default_weights(progress=lambda done, total: set_progress("fetch HED weights", done, total))


def make_table(*headings: str) -> Table:
    """Return an empty table without lines; names and commands in it never break."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in headings:
        # What is copied must not break.
        no_wrap = heading in ("name", "what", "pictures", "size", "age", "state", "next")
        table.add_column(heading, overflow="fold", no_wrap=no_wrap)
    return table


def print_locations(locations: Iterable[tuple[str, str]]) -> None:
    """Print what lies where, a line each."""
    locations = list(locations)
    width = max(len(what) for what, _ in locations)
    for what, where in locations:
        console.print(f"  {what:<{width}}  {escape(where)}")
