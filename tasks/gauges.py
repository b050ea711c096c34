"""Progress of deployed runs as bars in the Prefect UI: one artifact a bar, rarely written."""

import re
import threading
import time
from dataclasses import dataclass, field
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_logger

from tasks.deployed import is_deployed

# Seconds between two updates: each is a request.
_EVERY = 5.0

_lock = threading.Lock()
_gauges: dict[str, "_Gauge"] = {}
# Of the bars that are open, whether they are shown yet or not.
_units: dict[str, str] = {}


@dataclass
class _Gauge:
    artifact: UUID
    total: float
    done: float
    written: float = field(default_factory=time.monotonic)


def open_gauge(name: str, total: float | None, unit: str, done: float) -> None:
    """Show a bar in the run's artifacts, if a worker runs it, once its end is known."""
    if not is_deployed():
        return
    with _lock:
        _units[name] = unit
    if total:
        _show(name, total, done)


def _show(name: str, total: float, done: float) -> None:
    text = f"{name}, {total:,.0f} {_units[name]}".rstrip()
    key = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    try:
        artifact = create_progress_artifact(min(100.0, 100 * done / total), key, text)
    except Exception as error:
        _tell(name, error)
        return
    assert isinstance(artifact, UUID), "it is no coroutine outside of one"
    with _lock:
        _gauges[name] = _Gauge(artifact, total, done)


def add(name: str, count: float) -> None:
    """Count on a bar; nothing happens where there is none."""
    with _lock:
        gauge = _gauges.get(name)
        if gauge is None:
            return
        gauge.done += count
        due = time.monotonic() - gauge.written >= _EVERY
        if due:
            gauge.written = time.monotonic()
    if due:
        _write(name, gauge)


def set_to(name: str, done: float, total: float | None) -> None:
    """Set a bar, and show it where its end is only known now; nothing happens without one."""
    with _lock:
        gauge, opened = _gauges.get(name), name in _units
    if gauge is None:
        if opened and total:
            _show(name, total, done)
        return
    with _lock:
        step = done - gauge.done
        gauge.total = total or gauge.total
    add(name, step)


def close_gauge(name: str) -> None:
    """Write how far a bar came."""
    with _lock:
        _units.pop(name, None)
        gauge = _gauges.pop(name, None)
    if gauge is not None:
        _write(name, gauge)


def _write(name: str, gauge: _Gauge) -> None:
    try:
        update_progress_artifact(gauge.artifact, min(100.0, 100 * gauge.done / gauge.total))
    except Exception as error:
        _tell(name, error)


def _tell(name: str, error: Exception) -> None:
    # No run ends because its bar does not move.
    get_logger("icanvas").debug("%s: the bar was not moved: %s", name, error)
