"""``ShardReader``: random access to shards that stay open as local files."""

import os
import resource
import weakref
from collections import OrderedDict
from contextlib import ExitStack, suppress

from config.errors import PREPARE_AGAIN, CorruptObjectError, StorageError
from storage.shards import read_member
from storage.store import ObjectStore

# On S3 a shard takes two descriptors: one for the file, one for the lock that prevents eviction. A
# run has two readers, one per split.
_DESCRIPTORS_PER_SHARD = 2 * 2
# The limit of descriptors to request, and how many of them to leave to the rest of the process.
_TARGET_DESCRIPTORS, _RESERVED_DESCRIPTORS = 8192, 512


class ShardReader:
    """Read members of shards by offset and size, in any order, repeatedly.

    A shard is opened at its first read and stays open. A remote shard is downloaded once, by one of
    the processes that need it; later reads need no request. If the shards together do not fit into
    the cache, every read is a request for that range alone.

    A reader can be pickled: the other process opens the shards itself. It is not thread-safe.

    Parameters
    ----------
    store : ObjectStore
        Holds the shards.
    size : int, bytes
        Total size of all shards.
    """

    def __init__(self, store: ObjectStore, size: int) -> None:
        self._store = store
        self._use_local_copies = store.fits_cache(size)
        self._reset()

    def __getstate__(self) -> dict[str, object]:
        """Leave out the open files, which belong to this process."""
        return {"_store": self._store, "_use_local_copies": self._use_local_copies}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Restore the settings, without open files."""
        vars(self).update(state)
        self._reset()

    def _reset(self) -> None:
        self._open_shards: OrderedDict[str, tuple[int, ExitStack]] = OrderedDict()
        self._max_open = _max_open_shards()
        weakref.finalize(self, _close_all, self._open_shards)

    def read(self, key: str, offset: int, size: int) -> bytes:
        """Read a member of a shard.

        Parameters
        ----------
        key : str
            Key of the shard.
        offset, size : int, bytes
            Position of the member's content in the tar.

        Returns
        -------
        bytes
            The member's content.

        Raises
        ------
        NotFoundError
            If the shard does not exist.
        CorruptObjectError
            If the shard ends before the member does, or fails its checksum.
        StorageError
            If the shard cannot be read.
        """
        if not self._use_local_copies:
            return read_member(self._store, key, offset, size)
        try:
            data = os.pread(self._get_descriptor(key), size, offset)
        except OSError as error:
            raise StorageError(
                f"Reading {self._store.location(key)} failed: {error.strerror}. Check its "
                "permissions and disk."
            ) from error
        if len(data) < size:
            raise CorruptObjectError(
                f"{key} is truncated: {len(data)} of {size} bytes at offset {offset}. "
                f"{PREPARE_AGAIN}"
            )
        return data

    def _get_descriptor(self, key: str) -> int:
        """Return the descriptor of an open shard; close the least recently used ones if needed."""
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
    """Return how many shards may be open at a time, after raising the soft limit of descriptors.

    The default soft limit is 1,024 on many systems; the hard limit is usually far higher.
    """
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
