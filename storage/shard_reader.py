"""Shards that are read again and again: opened once, as local files where there is room."""

import os
import resource
import weakref
from collections import OrderedDict
from contextlib import ExitStack, suppress

from config.errors import MAKE_ANEW, DamagedError, StorageError
from storage.shards import read_member
from storage.store import ObjectStore

# Each takes two descriptors on S3, one for the file and one for the lock that keeps it; and a run
# reads two splits.
_EACH = 2 * 2
# Descriptors that shards ask for, and those that are left to the rest of the process.
_WANTED, _OTHERS = 8192, 512


class OpenShards:
    """Members of shards by offset and size, for access in any order, all the time.

    A shard is opened when it is first read, and stays open: of a store on the network it is fetched
    once, by one of the processes that want it, and after that no read is a request. Where the
    shards together are more than is kept on this machine, each read is one for the part alone.

    It may be sent to another process, which opens anew. Not for several threads.

    Parameters
    ----------
    store : holds the shards.
    size : of all shards in bytes.
    """

    def __init__(self, store: ObjectStore, size: int) -> None:
        self._store = store
        self._here = store.keeps(size)
        self._begin()

    def __getstate__(self) -> dict[str, object]:
        """Leave the open files, which belong to this process, behind."""
        return {"_store": self._store, "_here": self._here}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Begin with no open file."""
        vars(self).update(state)
        self._begin()

    def _begin(self) -> None:
        self._open: OrderedDict[str, tuple[int, ExitStack]] = OrderedDict()
        self._most = _count_openable()
        weakref.finalize(self, _close_all, self._open)

    def read(self, key: str, offset: int, size: int) -> bytes:
        """Return a member's bytes.

        Raises
        ------
        NotFoundError
            If the shard is not there.
        DamagedError
            If it ends before the member does, or arrives other than it was written.
        StorageError
            If it cannot be read.
        """
        if not self._here:
            return read_member(self._store, key, offset, size)
        try:
            data = os.pread(self._find(key), size, offset)
        except OSError as error:
            raise StorageError(
                f"{self._store.location(key)} cannot be read: {error.strerror}. Check its "
                "permissions and disk."
            ) from error
        if len(data) < size:
            raise DamagedError(
                f"{key} is cut short: {len(data)} of {size} bytes from {offset} on. {MAKE_ANEW}"
            )
        return data

    def _find(self, key: str) -> int:
        """Return the descriptor of a shard, the longest unread one being closed if need be."""
        if key not in self._open:
            while len(self._open) >= self._most:
                self._open.popitem(last=False)[1][1].close()
            with ExitStack() as trial:
                file = trial.enter_context(
                    trial.enter_context(self._store.open_local(key)).open("rb")
                )
                self._open[key] = file.fileno(), trial.pop_all()
        self._open.move_to_end(key)
        return self._open[key][0]


def _count_openable() -> int:
    """Return how many shards may be open; many systems allow 1,024 files until they are asked."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    unbounded = resource.RLIM_INFINITY
    wanted = _WANTED if most == unbounded else min(_WANTED, most)
    if allowed != unbounded and allowed < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
            allowed = wanted
    given = wanted if allowed == unbounded else min(wanted, allowed)
    return max(16, (given - _OTHERS) // _EACH)


def _close_all(opened: OrderedDict[str, tuple[int, ExitStack]]) -> None:
    while opened:
        opened.popitem()[1][1].close()
