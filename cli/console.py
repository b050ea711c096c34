"""What the ``icanvas`` command prints with: two consoles, tables, progress around a Prefect run."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from config.settings import get_settings

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


# Prefect and HED take seconds to import: each function imports what it calls.


@contextmanager
def show_progress_bars() -> Iterator[None]:
    """Show every bar for the time of the block."""
    from tasks.progress import show_progress

    with show_progress(err):
        yield


@contextmanager
def run_prefect(verbose: bool) -> Iterator[None]:
    """Show progress and run Prefect: the server that is configured, or an embedded one."""
    if not verbose:
        # The bars tell the rest; the log goes to the API, where the UI shows it.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    with show_progress_bars():
        from tasks.embedded_server import start_embedded_api
        from tasks.interrupts import catch_interrupts
        from tasks.progress import bar

        catch_interrupts()

        try:
            with bar("start Prefect"):
                start_embedded_api()
            yield
        except KeyboardInterrupt:
            err.print("[bold red]icanvas:[/] interrupted; the same command goes on from here.")
            raise


def fetch_weights() -> None:
    """Fetch the default weights with a bar, unless they are there or others are set."""
    if get_settings().weights is not None:
        return
    from hed import fetch_default_weights
    from tasks.progress import bar, move

    with bar("fetch HED weights", unit="bytes"):
        fetch_default_weights(progress=lambda done, total: move("fetch HED weights", done, total))


def make_table(*headings: str) -> Table:
    """Return an empty table without lines; names and commands in it never break."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in headings:
        # What is copied must not break.
        whole = heading in ("name", "what", "pictures", "size", "age", "state", "next")
        table.add_column(heading, overflow="fold", no_wrap=whole)
    return table


def print_places(places: Iterable[tuple[str, str]]) -> None:
    """Print what lies where, a line each."""
    places = list(places)
    width = max(len(what) for what, _ in places)
    for what, where in places:
        out.print(f"  {what:<{width}}  {escape(where)}")
