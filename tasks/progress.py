"""Progress bars by name: flows and tasks count, the command line shows.

Tasks run in threads of the flow's process, so they share the display. A run that a worker started
has none, but a bar in the Prefect UI (``tasks.progress_artifacts``).
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from tasks import progress_artifacts

# Without a terminal a line is printed this often, in seconds.
_LINE_EVERY = 10.0

_lock = threading.Lock()
_display: Progress | None = None
_bars: dict[str, TaskID] = {}
# Set when the display starts, too: what is quick needs no line.
_printed_at = 0.0


class _Amount(ProgressColumn):
    """``12/64 pictures``, or ``3.2 MB`` of an unknown whole."""

    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        numbers = [task.completed] if task.total is None else [task.completed, task.total]
        if not any(numbers):
            return Text("")
        if unit == "bytes":
            return Text("/".join(decimal(int(number)) for number in numbers))
        return Text("/".join(f"{number:,.0f}" for number in numbers) + f" {unit}")


@contextmanager
def show_progress(console: Console) -> Iterator[None]:
    """Show every bar on this console for the time of the block."""
    global _display, _printed_at
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        _Amount(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    display = Progress(*columns, console=console)
    display.start()
    _display, _printed_at = display, time.monotonic()
    try:
        yield
    finally:
        _display = None
        _bars.clear()
        if display.tasks:
            display.stop()
        else:
            # Progress.stop() would leave an empty line of nothing.
            display.live.transient = True
            display.live.stop()


@contextmanager
def bar(
    name: str, total: int | None = None, unit: str = "", done: int = 0, later: bool = False
) -> Iterator[None]:
    """Keep a bar for the time of the block; ``total`` None where the end is not known.

    One that is for ``later`` appears, and its clock starts, with the first count.
    """
    with _lock:
        if _display is not None:
            _bars[name] = _display.add_task(
                name, start=not later, visible=not later, total=total, completed=done, unit=unit
            )
    progress_artifacts.open_gauge(name, total, unit, done)
    try:
        yield
    finally:
        progress_artifacts.close_gauge(name)
        with _lock:
            if (shown := _bars.pop(name, None)) is not None and _display is not None:
                _finish(_display, shown)


def advance(name: str, count: int = 1) -> None:
    """Count on a bar; nothing happens where it is not shown."""
    progress_artifacts.add(name, count)
    with _lock:
        if _display is not None and name in _bars:
            _begin(_display, _bars[name])
            _display.advance(_bars[name], count)
            _print_line(_display, _bars[name])


def move(name: str, done: int, total: int | None) -> None:
    """Set a bar to ``done`` of ``total``, if it is shown; None where the end is not known."""
    progress_artifacts.set_to(name, done, total)
    with _lock:
        if _display is not None and name in _bars:
            _begin(_display, _bars[name])
            _display.update(_bars[name], completed=done, total=total)
            _print_line(_display, _bars[name])


def note(name: str, text: str) -> None:
    """Say what a bar waits for, behind its name; nothing takes it back."""
    with _lock:
        if _display is not None and name in _bars:
            _display.update(_bars[name], description=f"{name} ({text})" if text else name)
            if text and not _display.console.is_terminal:
                _display.console.print(f"{name}: {text}")


def settle(name: str) -> None:
    """Let a bar end where it is: fewer than expected may be all there is."""
    progress_artifacts.settle(name)
    with _lock:
        if _display is not None and name in _bars:
            task = next(task for task in _display.tasks if task.id == _bars[name])
            _display.update(task.id, total=task.completed)


def _begin(display: Progress, shown: TaskID) -> None:
    """Show a bar that was for later."""
    task = next(task for task in display.tasks if task.id == shown)
    if not task.started:
        display.start_task(shown)
        display.update(shown, visible=True)


def _print_line(display: Progress, shown: TaskID) -> None:
    """Tell a log file how far it is: bars are drawn there only when all is over."""
    global _printed_at
    now = time.monotonic()
    if not display.console.is_terminal and now - _printed_at >= _LINE_EVERY:
        _printed_at = now
        task = next(task for task in display.tasks if task.id == shown)
        display.console.print(f"{task.description}: {_Amount().render(task)}")


def _finish(display: Progress, shown: TaskID) -> None:
    """Leave a bar that counted as it is, and take one away that only told to wait."""
    task = next(task for task in display.tasks if task.id == shown)
    if not task.completed:
        display.remove_task(shown)
    elif task.total is None:
        display.update(shown, total=task.completed)
    else:
        display.stop_task(shown)
