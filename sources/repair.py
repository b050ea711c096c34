"""Stored files that are damaged: found for certain, and acquired anew."""

import hashlib
from collections.abc import Iterable

from config.errors import CorruptObjectError, NotFoundError
from storage import ObjectStore, keys
from storage.manifest import ManifestRow, rows_from_parquet
from storage.temporary_files import temporary_file


def delete_corrupt_shard(store: ObjectStore, dataset: str, raw: str, shard: int) -> bool:
    """Let a raw shard count as not acquired, if the store's own bytes of it are damaged.

    A copy that was damaged on its way here is no reason: everything is read anew. Of the shard
    nothing is removed but what says that it is complete; acquiring overwrites the rest.

    Parameters
    ----------
    store : holds the raw set.
    dataset, raw, shard : which shard: data set, fingerprint and number.

    Returns
    -------
    bool
        Whether it was damaged.
    """
    folder = keys.raw_folder(dataset, raw)
    part = f"{folder}/{keys.part_name(shard)}"
    try:
        rows = rows_from_parquet(store.get(part))
        damaged = not _is_complete(store, f"{folder}/{keys.shard_name(shard)}", rows)
    except (CorruptObjectError, NotFoundError):
        damaged = True
    if damaged:
        # The index first: with it the set would pass for complete.
        store.delete(keys.raw_index(dataset, raw))
        store.delete(part)
    return damaged


def _is_complete(store: ObjectStore, shard: str, rows: Iterable[ManifestRow]) -> bool:
    with temporary_file() as file:
        # Where a store checks what it holds, also the bytes between files count: with those
        # damaged no copy of the shard would ever be taken.
        store.get_file(shard, file)
        for row in rows:
            if row.offset is None or row.size is None:
                continue
            file.seek(row.offset)
            if hashlib.sha256(file.read(row.size)).hexdigest() != row.sha256:
                return False
    return True
