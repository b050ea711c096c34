"""What `icanvas gc` is removing, said before it does.

Whoever comes to need something writes that down (a pointer, a recipe, the settings of a pair set in
the making) and asks here after that. `icanvas gc` says here what it will remove and looks at what
is needed after that. So at least one of the two sees the other.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from config.errors import ConflictError
from storage import keys
from storage.json_objects import read_json
from storage.store import ObjectStore, get_or_none

# In seconds.
_HEARTBEAT_INTERVAL_S = 10
_POLL_INTERVAL_S = 1


class GcLock(BaseModel):
    """Content of ``removing.json``.

    Attributes
    ----------
    by : token of the process that removes.
    beat : counted up for as long as that process lives.
    places : folders of pair sets, and keys of checkpoints.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    owner: str = Field(validation_alias="by", serialization_alias="by")
    heartbeat: int = Field(validation_alias="beat", serialization_alias="beat")
    paths: list[str] = Field(validation_alias="places", serialization_alias="places")


def ensure_not_collected(store: ObjectStore, path: str) -> None:
    """Make sure that nobody removes a pair set or checkpoint. Ask when it is known to be needed.

    Raises
    ------
    ConflictError
        If someone does.
    """
    lock = read_json(store, keys.gc_lock(), GcLock, "run `icanvas gc` again")
    if lock is not None and path in lock.paths:
        raise ConflictError(
            f"{store.location(path)} is being removed by `icanvas gc`, or was when that was "
            "killed. Wait for it, or run `icanvas gc --yes`; then run this again."
        )


@contextmanager
def hold_gc_lock(
    store: ObjectStore, paths: list[str], timeout: timedelta
) -> Iterator[Callable[[], None]]:
    """Announce what will be removed, for the time of the ``with`` block; one process at a time.

    Parameters
    ----------
    store : the store.
    places : as ``Announcement`` has them.
    patience : how long another's announcement must have been silent to count as of a killed
        process, whose place is taken then.

    Yields
    ------
    callable
        To be called before each removal: it raises ConflictError once the place was taken.

    Raises
    ------
    ConflictError
        If another process is removing.
    """
    key = keys.gc_lock()
    lock = GcLock(owner=uuid.uuid4().hex, heartbeat=0, paths=paths)
    content = lock.model_dump_json().encode()
    store.compare_and_swap(key, content, _wait_for_expiry(store, timeout))
    renewed_at = time.monotonic()

    def renew() -> None:
        nonlocal lock, content, renewed_at
        if time.monotonic() - renewed_at >= _HEARTBEAT_INTERVAL_S:
            lock = lock.model_copy(update={"heartbeat": lock.heartbeat + 1})
            renewed_content = lock.model_dump_json().encode()
            store.compare_and_swap(key, renewed_content, content)
            content, renewed_at = renewed_content, time.monotonic()

    try:
        yield renew
    finally:
        if _read_lock(store) == content:
            store.delete(key)


def _wait_for_expiry(store: ObjectStore, timeout: timedelta) -> bytes | None:
    """Return the announcement that a killed process left; None where there is none."""
    first = content = _read_lock(store)
    deadline = time.monotonic() + timeout.total_seconds()
    while content is not None and time.monotonic() < deadline:
        time.sleep(_POLL_INTERVAL_S)
        content = _read_lock(store)
        if content not in (None, first):
            raise ConflictError(
                f"Another `icanvas gc` is removing from {store.url}. Run again when it has ended."
            )
    return content


def _read_lock(store: ObjectStore) -> bytes | None:
    return get_or_none(store, keys.gc_lock())
