"""Named progress bars, on the console for commands and in the Prefect UI for deployed runs.

A command shows its bars on the console. Tasks run in threads of the flow's process and share that
display. A deployed run has no console, so its bars are Prefect progress artifacts.

Importing Prefect takes seconds, and commands without a flow show bars as well. Prefect is therefore
imported in the functions that write an artifact.
"""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

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

from tasks.deployments import is_deployed

# Seconds between two lines if the console is not a terminal.
_LINE_INTERVAL_S = 10.0

# Seconds between two updates of an artifact. Each update is a request.
_UPDATE_INTERVAL_S = 5.0

_lock = threading.Lock()
_display: Progress | None = None
_task_ids: dict[str, TaskID] = {}
_artifacts: dict[str, "_ProgressArtifact"] = {}
# Also set at the start of the display, so that short work prints no line.
_last_line_at = 0.0


@dataclass
class _ProgressArtifact:
    """A bar of a deployed run. The artifact is created as soon as the total is set."""

    unit: str
    done: float
    total: float = 0
    artifact_id: UUID | None = None
    updated_at: float = 0


class _AmountColumn(ProgressColumn):
    """Renders ``12/64 pictures``, or ``3.2 MB`` if the total is unknown."""

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
    """Show all bars on a console during the block.

    Parameters
    ----------
    console : Console
        Console for the bars. A terminal shows live bars; any other file gets one line every 10
        seconds.
    """
    global _display, _last_line_at
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        _AmountColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    display = Progress(*columns, console=console)
    display.start()
    _display, _last_line_at = display, time.monotonic()
    try:
        yield
    finally:
        _display = None
        _task_ids.clear()
        if display.tasks:
            display.stop()
        else:
            # Progress.stop() would print an empty line for a display without bars.
            display.live.transient = True
            display.live.stop()


@contextmanager
def progress_bar(
    name: str, total: int | None = None, unit: str = "", done: int = 0, deferred: bool = False
) -> Iterator[None]:
    """Show a bar during the block.

    Parameters
    ----------
    name : str
        Title and identifier of the bar. The other functions of this module take this name.
    total : int or None, optional
        Amount at the end; None if unknown.
    unit : str, optional
        Unit of the amounts, for example ``pictures``. ``bytes`` are shown as kB, MB or GB.
    done : int, default 0
        Amount at the start, in [0, total].
    deferred : bool, default False
        Show the bar and start its clock at the first update.

    Examples
    --------
    >>> with progress_bar("extract", total=2, unit="pictures"):
    ...     advance("extract")
    ...     advance("extract")
    """
    with _lock:
        if _display is not None:
            _task_ids[name] = _display.add_task(
                name,
                start=not deferred,
                visible=not deferred,
                total=total,
                completed=done,
                unit=unit,
            )
    _open_artifact(name, total, unit, done)
    try:
        yield
    finally:
        _close_artifact(name)
        with _lock:
            if (task_id := _task_ids.pop(name, None)) is not None and _display is not None:
                _close_bar(_display, task_id)


def advance(name: str, count: int = 1) -> None:
    """Increase the amount of a bar. Does nothing if the bar is not open.

    Parameters
    ----------
    name : str
        Name of the bar.
    count : int, default 1
        Amount to add, in the unit of the bar.
    """
    _advance_artifact(name, count)
    with _lock:
        if _display is not None and name in _task_ids:
            _start_deferred(_display, _task_ids[name])
            _display.advance(_task_ids[name], count)
            _print_line(_display, _task_ids[name])


def set_progress(name: str, done: int, total: int | None) -> None:
    """Set the amount and the total of a bar. Does nothing if the bar is not open.

    Parameters
    ----------
    name : str
        Name of the bar.
    done : int
        Current amount, in the unit of the bar.
    total : int or None
        Amount at the end; None if unknown.
    """
    _set_artifact(name, done, total)
    with _lock:
        if _display is not None and name in _task_ids:
            _start_deferred(_display, _task_ids[name])
            _display.update(_task_ids[name], completed=done, total=total)
            _print_line(_display, _task_ids[name])


def set_status(name: str, text: str) -> None:
    """Show a status after the name of a bar, for example the reason for a wait.

    Parameters
    ----------
    name : str
        Name of the bar.
    text : str
        Status, shown until the next call. An empty string removes it.
    """
    with _lock:
        if _display is not None and name in _task_ids:
            description = f"{name} ({text})" if text else name
            _display.update(_task_ids[name], description=description)
            if text and not _display.console.is_terminal:
                _display.console.print(f"{name}: {text}")


def complete_bar(name: str) -> None:
    """Set the total of a bar to its current amount, if the total was an estimate.

    Parameters
    ----------
    name : str
        Name of the bar.
    """
    _complete_artifact(name)
    with _lock:
        if _display is not None and name in _task_ids:
            task = next(task for task in _display.tasks if task.id == _task_ids[name])
            _display.update(task.id, total=task.completed)


def _start_deferred(display: Progress, task_id: TaskID) -> None:
    """Show a deferred bar and start its clock."""
    task = next(task for task in display.tasks if task.id == task_id)
    if not task.started:
        display.start_task(task_id)
        display.update(task_id, visible=True)


def _print_line(display: Progress, task_id: TaskID) -> None:
    """Print the amount of a bar if the console is a file, where rich draws bars only at the end."""
    global _last_line_at
    now = time.monotonic()
    if not display.console.is_terminal and now - _last_line_at >= _LINE_INTERVAL_S:
        _last_line_at = now
        task = next(task for task in display.tasks if task.id == task_id)
        display.console.print(f"{task.description}: {_AmountColumn().render(task)}")


def _close_bar(display: Progress, task_id: TaskID) -> None:
    """Stop a bar, or remove it if its amount is 0."""
    task = next(task for task in display.tasks if task.id == task_id)
    if not task.completed:
        display.remove_task(task_id)
    elif task.total is None:
        display.update(task_id, total=task.completed)
    else:
        display.stop_task(task_id)


def _open_artifact(name: str, total: float | None, unit: str, done: float) -> None:
    if not is_deployed():
        return
    artifact = _ProgressArtifact(unit, done)
    with _lock:
        _artifacts[name] = artifact
    if total:
        artifact.total = total
        _create_artifact(name, artifact)


def _advance_artifact(name: str, count: float) -> None:
    with _lock:
        artifact = _artifacts.get(name)
        if artifact is None:
            return
        artifact.done += count
        due = (
            artifact.artifact_id is not None
            and time.monotonic() - artifact.updated_at >= _UPDATE_INTERVAL_S
        )
        if due:
            artifact.updated_at = time.monotonic()
    if due:
        _update_artifact(name, artifact)


def _set_artifact(name: str, done: float, total: float | None) -> None:
    with _lock:
        artifact = _artifacts.get(name)
        if artifact is None:
            return
        step, artifact.total = done - artifact.done, total or artifact.total
        is_new = artifact.artifact_id is None and artifact.total > 0
        if is_new:
            artifact.done = done
    if is_new:
        _create_artifact(name, artifact)
    else:
        _advance_artifact(name, step)


def _complete_artifact(name: str) -> None:
    with _lock:
        artifact = _artifacts.get(name)
        if artifact is not None:
            artifact.total = artifact.done


def _close_artifact(name: str) -> None:
    with _lock:
        artifact = _artifacts.pop(name, None)
    if artifact is not None and artifact.artifact_id is not None:
        _update_artifact(name, artifact)


def _create_artifact(name: str, artifact: _ProgressArtifact) -> None:
    from prefect.artifacts import create_progress_artifact

    description = f"{name}, {artifact.total:,.0f} {artifact.unit}".rstrip()
    key = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    try:
        artifact_id = create_progress_artifact(_compute_percentage(artifact), key, description)
    except Exception as error:
        _log_failure(name, error)
        return
    assert isinstance(artifact_id, UUID), "the call is synchronous outside of a coroutine"
    artifact.artifact_id, artifact.updated_at = artifact_id, time.monotonic()


def _update_artifact(name: str, artifact: _ProgressArtifact) -> None:
    from prefect.artifacts import update_progress_artifact

    assert artifact.artifact_id is not None
    try:
        update_progress_artifact(artifact.artifact_id, _compute_percentage(artifact))
    except Exception as error:
        _log_failure(name, error)


def _compute_percentage(artifact: _ProgressArtifact) -> float:
    return min(100.0, 100 * artifact.done / artifact.total) if artifact.total else 100.0


def _log_failure(name: str, error: Exception) -> None:
    from prefect.logging import get_logger

    # A failed update of a progress bar must not fail the run.
    get_logger("icanvas").debug("%s: updating the progress artifact failed: %s", name, error)
