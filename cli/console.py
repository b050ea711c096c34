"""Terminal output: the two consoles, tables, progress bars, and the session of a Prefect run."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from config.settings import get_settings

console = Console(highlight=False, soft_wrap=True)
err_console = Console(stderr=True, highlight=False, soft_wrap=True)

# Prefect and HED take seconds to import, so they are imported inside the functions.


@contextmanager
def show_progress_bars() -> Iterator[None]:
    """Show progress bars on standard error within the block."""
    from tasks.progress import show_progress

    with show_progress(err_console):
        yield


@contextmanager
def prefect_session(verbose: bool) -> Iterator[None]:
    """Connect to Prefect and show progress bars within the block.

    Uses the server of ``PREFECT_API_URL``, or starts an embedded one.

    Parameters
    ----------
    verbose : bool
        Print Prefect's log to the console.
    """
    if not verbose:
        # The log still goes to the API, where the UI shows it.
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
                "[bold red]icanvas:[/] interrupted; run the same command again to resume."
            )
            raise


def fetch_weights() -> None:
    """Fetch the default HED weights with a progress bar, unless they are cached or replaced."""
    if get_settings().weights is not None:
        return
    from hed import fetch_default_weights
    from tasks.progress import progress_bar, set_progress

    with progress_bar("fetch HED weights", unit="bytes"):
        fetch_default_weights(
            progress=lambda done, total: set_progress("fetch HED weights", done, total)
        )


def make_table(*headings: str) -> Table:
    """Return an empty table without borders, in which names and commands are not wrapped."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in headings:
        # Users copy names and commands, which must not be wrapped.
        no_wrap = heading in ("name", "object", "pictures", "size", "age", "state", "next")
        table.add_column(heading, overflow="fold", no_wrap=no_wrap)
    return table


def print_locations(locations: Iterable[tuple[str, str]]) -> None:
    """Print pairs of a label and a path or URL, one a line, aligned."""
    locations = list(locations)
    width = max(len(label) for label, _ in locations)
    for label, location in locations:
        console.print(f"  {label:<{width}}  {escape(location)}")
