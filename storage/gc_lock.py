"""The lock of `icanvas gc`: an object that names what is being deleted.

A process that needs an object first writes down that it does (a pointer, a recipe, the settings of
a pair set in progress), and then checks the lock. `icanvas gc` first writes the lock, and then
checks what is needed. So at least one of the two sees the other.
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

_HEARTBEAT_INTERVAL_S = 10
_POLL_INTERVAL_S = 1


class GcLock(BaseModel):
    """Content of ``gc/removing.json``.

    Attributes
    ----------
    owner : str
        Random token of the process that holds the lock.
    heartbeat : int, ≥ 0
        Incremented for as long as the process lives.
    paths : list of str
        Folders of pair sets and exports, keys of checkpoints, and IDs of uploads to be deleted.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    owner: str = Field(validation_alias="by", serialization_alias="by")
    heartbeat: int = Field(validation_alias="beat", serialization_alias="beat")
    paths: list[str] = Field(validation_alias="places", serialization_alias="places")


def ensure_not_collected(store: ObjectStore, path: str) -> None:
    """Check that `icanvas gc` is not deleting a pair set, checkpoint or export.

    Call it after the reference to the object was written.

    Parameters
    ----------
    store : ObjectStore
        The store.
    path : str
        Folder of the pair set or export, or key of the checkpoint.

    Raises
    ------
    ConflictError
        If the lock names the path.
    IntegrityError
        If the lock cannot be read.
    """
    lock = read_json(store, keys.gc_lock(), GcLock, "run `icanvas gc` again")
    if lock is not None and path in lock.paths:
        raise ConflictError(
            f"{store.location(path)} is being deleted by `icanvas gc`, or was when that process "
            "was killed. Wait for it, or run `icanvas gc --yes`; then run this again."
        )


@contextmanager
def hold_gc_lock(
    store: ObjectStore, paths: list[str], timeout: timedelta
) -> Iterator[Callable[[], None]]:
    """Hold the lock for the duration of the ``with`` block.

    Parameters
    ----------
    store : ObjectStore
        The store.
    paths : list of str
        What will be deleted; see ``GcLock``.
    timeout : datetime.timedelta
        How long the lock of another process must be without a heartbeat to count as abandoned. It
        is taken over then.

    Yields
    ------
    callable
        To be called before each deletion. It renews the heartbeat, and raises ConflictError if
        another process took over the lock.

    Raises
    ------
    ConflictError
        If another process holds the lock.
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
    """Return the content of an abandoned lock, None without one; ConflictError on a heartbeat."""
    first = content = _read_lock(store)
    deadline = time.monotonic() + timeout.total_seconds()
    while content is not None and time.monotonic() < deadline:
        time.sleep(_POLL_INTERVAL_S)
        content = _read_lock(store)
        if content not in (None, first):
            raise ConflictError(
                f"Another `icanvas gc` is deleting from {store.url}. Run again after it has ended."
            )
    return content


def _read_lock(store: ObjectStore) -> bytes | None:
    return get_or_none(store, keys.gc_lock())
