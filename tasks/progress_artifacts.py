"""Progress of deployed runs as bars in the Prefect UI: one artifact a bar, rarely written.

Prefect takes seconds to import, and commands that run no flow show bars, too: it is imported where
a bar is written.
"""

import re
import threading
import time
from dataclasses import dataclass
from uuid import UUID

from tasks.deployments import is_deployed

# Seconds between two updates: each is a request.
_EVERY = 5.0

_lock = threading.Lock()
_gauges: dict[str, "_Gauge"] = {}


@dataclass
class _Gauge:
    """A bar that is open; it has an artifact once its end is known."""

    unit: str
    done: float
    total: float = 0
    artifact: UUID | None = None
    written: float = 0


def open_gauge(name: str, total: float | None, unit: str, done: float) -> None:
    """Show a bar in the run's artifacts, if a worker runs it, once its end is known."""
    if not is_deployed():
        return
    gauge = _Gauge(unit, done)
    with _lock:
        _gauges[name] = gauge
    if total:
        gauge.total = total
        _show(name, gauge)


def add(name: str, count: float) -> None:
    """Count on a bar; nothing happens where there is none."""
    with _lock:
        gauge = _gauges.get(name)
        if gauge is None:
            return
        gauge.done += count
        due = gauge.artifact is not None and time.monotonic() - gauge.written >= _EVERY
        if due:
            gauge.written = time.monotonic()
    if due:
        _write(name, gauge)


def set_to(name: str, done: float, total: float | None) -> None:
    """Set a bar, and show it where its end is only known now; nothing happens without one."""
    with _lock:
        gauge = _gauges.get(name)
        if gauge is None:
            return
        step, gauge.total = done - gauge.done, total or gauge.total
        appears = gauge.artifact is None and gauge.total > 0
        if appears:
            gauge.done = done
    if appears:
        _show(name, gauge)
    else:
        add(name, step)


def settle(name: str) -> None:
    """Let a bar end where it is: fewer than expected may be all there is."""
    with _lock:
        gauge = _gauges.get(name)
        if gauge is not None:
            gauge.total = gauge.done


def close_gauge(name: str) -> None:
    """Write how far a bar came."""
    with _lock:
        gauge = _gauges.pop(name, None)
    if gauge is not None and gauge.artifact is not None:
        _write(name, gauge)


def _show(name: str, gauge: _Gauge) -> None:
    from prefect.artifacts import create_progress_artifact

    text = f"{name}, {gauge.total:,.0f} {gauge.unit}".rstrip()
    key = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    try:
        artifact = create_progress_artifact(_percent(gauge), key, text)
    except Exception as error:
        _tell(name, error)
        return
    assert isinstance(artifact, UUID), "it is no coroutine outside of one"
    gauge.artifact, gauge.written = artifact, time.monotonic()


def _write(name: str, gauge: _Gauge) -> None:
    from prefect.artifacts import update_progress_artifact

    assert gauge.artifact is not None
    try:
        update_progress_artifact(gauge.artifact, _percent(gauge))
    except Exception as error:
        _tell(name, error)


def _percent(gauge: _Gauge) -> float:
    return min(100.0, 100 * gauge.done / gauge.total) if gauge.total else 100.0


def _tell(name: str, error: Exception) -> None:
    from prefect.logging import get_logger

    # No run ends because its bar does not move.
    get_logger("icanvas").debug("%s: the bar was not moved: %s", name, error)
