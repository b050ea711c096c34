"""Shards that are read again and again: opened once, as local files where there is room."""

import os
import resource
import weakref
from collections import OrderedDict
from contextlib import ExitStack, suppress

from config.errors import PREPARE_AGAIN, CorruptObjectError, StorageError
from storage.shards import read_member
from storage.store import ObjectStore

# Each takes two descriptors on S3, one for the file and one for the lock that keeps it; and a run
# reads two splits.
_DESCRIPTORS_PER_SHARD = 2 * 2
# Descriptors that shards ask for, and those that are left to the rest of the process.
_TARGET_DESCRIPTORS, _RESERVED_DESCRIPTORS = 8192, 512


class ShardReader:
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
        self._use_local_copies = store.fits_cache(size)
        self._reset()

    def __getstate__(self) -> dict[str, object]:
        """Leave the open files, which belong to this process, behind."""
        return {"_store": self._store, "_use_local_copies": self._use_local_copies}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Begin with no open file."""
        vars(self).update(state)
        self._reset()

    def _reset(self) -> None:
        self._open_shards: OrderedDict[str, tuple[int, ExitStack]] = OrderedDict()
        self._max_open = _max_open_shards()
        weakref.finalize(self, _close_all, self._open_shards)

    def read(self, key: str, offset: int, size: int) -> bytes:
        """Return a member's bytes.

        Raises
        ------
        NotFoundError
            If the shard is not there.
        CorruptObjectError
            If it ends before the member does, or arrives other than it was written.
        StorageError
            If it cannot be read.
        """
        if not self._use_local_copies:
            return read_member(self._store, key, offset, size)
        try:
            data = os.pread(self._get_descriptor(key), size, offset)
        except OSError as error:
            raise StorageError(
                f"{self._store.location(key)} cannot be read: {error.strerror}. Check its "
                "permissions and disk."
            ) from error
        if len(data) < size:
            raise CorruptObjectError(
                f"{key} is cut short: {len(data)} of {size} bytes from {offset} on. {PREPARE_AGAIN}"
            )
        return data

    def _get_descriptor(self, key: str) -> int:
        """Return the descriptor of a shard, the longest unread one being closed if need be."""
        if key not in self._open_shards:
            while len(self._open_shards) >= self._max_open:
                self._open_shards.popitem(last=False)[1][1].close()
            with ExitStack() as opened:
                file = opened.enter_context(
                    opened.enter_context(self._store.local_copy(key)).open("rb")
                )
                self._open_shards[key] = file.fileno(), opened.pop_all()
        self._open_shards.move_to_end(key)
        return self._open_shards[key][0]


def _max_open_shards() -> int:
    """Return how many shards may be open; many systems allow 1,024 files until they are asked."""
    soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    unbounded = resource.RLIM_INFINITY
    target = (
        _TARGET_DESCRIPTORS if hard_limit == unbounded else min(_TARGET_DESCRIPTORS, hard_limit)
    )
    if soft_limit != unbounded and soft_limit < target:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard_limit))
            soft_limit = target
    granted = target if soft_limit == unbounded else min(target, soft_limit)
    return max(16, (granted - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_PER_SHARD)


def _close_all(open_shards: OrderedDict[str, tuple[int, ExitStack]]) -> None:
    while open_shards:
        open_shards.popitem()[1][1].close()
