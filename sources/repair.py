"""Detection and removal of corrupt raw shards, so that they are acquired again."""

import hashlib
from collections.abc import Iterable

from config.errors import CorruptObjectError, NotFoundError
from storage import ObjectStore, keys
from storage.manifest import ManifestRow, rows_from_parquet
from storage.temporary_files import temporary_file


def delete_corrupt_shard(store: ObjectStore, dataset: str, raw: str, shard: int) -> bool:
    """Mark a raw shard as not acquired if the stored bytes are corrupt.

    The stored objects are read again, so a copy that was corrupted in transit does not count. Only
    the rows that mark the shard and the raw set as complete are deleted; ``acquire`` overwrites the
    shard itself.

    Parameters
    ----------
    store : ObjectStore
        Store with the raw set.
    dataset : str
        Name of the data set.
    raw : str
        Fingerprint of the raw set.
    shard : int
        Number of the shard.

    Returns
    -------
    bool
        Whether the shard was corrupt.
    """
    folder = keys.raw_folder(dataset, raw)
    part = f"{folder}/{keys.part_name(shard)}"
    try:
        rows = rows_from_parquet(store.get(part))
        is_corrupt = not _is_complete(store, f"{folder}/{keys.shard_name(shard)}", rows)
    except (CorruptObjectError, NotFoundError):
        is_corrupt = True
    if is_corrupt:
        # The index is deleted first, because it marks the raw set as complete.
        store.delete(keys.raw_index(dataset, raw))
        store.delete(part)
    return is_corrupt


def _is_complete(store: ObjectStore, shard: str, rows: Iterable[ManifestRow]) -> bool:
    with temporary_file() as file:
        # The complete object is read: a store with checksums also detects corrupt bytes between
        # the files, with which no copy of the shard would ever be accepted.
        store.get_file(shard, file)
        for row in rows:
            if row.offset is None or row.size is None:
                continue
            file.seek(row.offset)
            if hashlib.sha256(file.read(row.size)).hexdigest() != row.sha256:
                return False
    return True
