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

from pydantic import BaseModel, ConfigDict

from config.errors import ConflictError
from storage import keys
from storage.json_objects import read_record
from storage.store import ObjectStore, get_or_none

# In seconds.
_BEAT = 10
_LOOK = 1


class Announcement(BaseModel):
    """Content of ``removing.json``.

    Attributes
    ----------
    by : token of the process that removes.
    beat : counted up for as long as that process lives.
    places : folders of pair sets, and keys of checkpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str
    beat: int
    places: list[str]


def check_stays(store: ObjectStore, place: str) -> None:
    """Make sure that nobody removes a pair set or checkpoint. Ask when it is known to be needed.

    Raises
    ------
    ConflictError
        If someone does.
    """
    found = read_record(store, keys.announcement(), Announcement, "run `icanvas gc` again")
    if found is not None and place in found.places:
        raise ConflictError(
            f"{store.location(place)} is being removed by `icanvas gc`, or was when that was "
            "killed. Wait for it, or run `icanvas gc --yes`; then run this again."
        )


@contextmanager
def announced(
    store: ObjectStore, places: list[str], patience: timedelta
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
    key = keys.announcement()
    said = Announcement(by=uuid.uuid4().hex, beat=0, places=places)
    content = said.model_dump_json().encode()
    store.compare_and_swap(key, content, _wait_for_silence(store, patience))
    spoken = time.monotonic()

    def keep() -> None:
        nonlocal said, content, spoken
        if time.monotonic() - spoken >= _BEAT:
            said = said.model_copy(update={"beat": said.beat + 1})
            following = said.model_dump_json().encode()
            store.compare_and_swap(key, following, content)
            content, spoken = following, time.monotonic()

    try:
        yield keep
    finally:
        if _read(store) == content:
            store.delete(key)


def _wait_for_silence(store: ObjectStore, patience: timedelta) -> bytes | None:
    """Return the announcement that a killed process left; None where there is none."""
    first = found = _read(store)
    ends = time.monotonic() + patience.total_seconds()
    while found is not None and time.monotonic() < ends:
        time.sleep(_LOOK)
        found = _read(store)
        if found not in (None, first):
            raise ConflictError(
                f"Another `icanvas gc` is removing from {store.url}. Run again when it has ended."
            )
    return found


def _read(store: ObjectStore) -> bytes | None:
    return get_or_none(store, keys.announcement())
