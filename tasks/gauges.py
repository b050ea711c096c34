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


@dataclass
class _Gauge:
    artifact: UUID
    total: float
    done: float
    written: float = field(default_factory=time.monotonic)


def open_gauge(name: str, total: float | None, unit: str, done: float) -> None:
    """Show a bar in the run's artifacts, if a worker runs it and the end is known."""
    if not is_deployed() or not total:
        return
    text = f"{name}, {total:,.0f} {unit}".rstrip()
    key = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    artifact = create_progress_artifact(100 * done / total, key=key, description=text)
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
    """Set a bar; nothing happens where there is none."""
    with _lock:
        gauge = _gauges.get(name)
        if gauge is None:
            return
        step = done - gauge.done
        gauge.total = total or gauge.total
    add(name, step)


def close_gauge(name: str) -> None:
    """Write how far a bar came."""
    with _lock:
        gauge = _gauges.pop(name, None)
    if gauge is not None:
        _write(name, gauge)


def _write(name: str, gauge: _Gauge) -> None:
    try:
        update_progress_artifact(gauge.artifact, min(100.0, 100 * gauge.done / gauge.total))
    except Exception as error:
        # No run ends because its bar does not move.
        get_logger("icanvas").debug("%s: the bar was not moved: %s", name, error)
