"""Verifies the stored shards of a pair set."""

import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from config.errors import CorruptObjectError, NotFoundError
from storage import ObjectStore, keys
from storage.manifest import ManifestRow, load_rows
from storage.pair_reader import open_pairs
from tasks.bounded_map import bounded_map
from tasks.pair_set_plan import PairSetPlan

# Number of shards that are read concurrently. One connection does not saturate the link to S3.
_MAX_CONCURRENT = 4

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def verify_shards(plan: PairSetPlan, rows: list[ManifestRow], store: ObjectStore) -> None:
    """Read and check all pair shards of a pair set before it is published.

    The SHA-256 of objects in S3 is checked. Each pair must be a PNG at the offset of its row.
    Published pairs in raw shards are skipped, because extraction has already checked them. The part
    of a corrupt shard is deleted, so that the shard is extracted again.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    rows : list of ManifestRow
        All rows of the pair set.
    store : ObjectStore
        Store that contains the pair set.

    Raises
    ------
    CorruptObjectError
        If a shard is missing or corrupt. The next extraction replaces it.
    """
    reader = open_pairs(store, plan.dataset.name, plan.fingerprint, plan.settings)
    if reader.raw is not None:
        return
    shards: defaultdict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        if row.status == "pair":
            shards[reader.key(row)].append(row)
    with ThreadPoolExecutor(_MAX_CONCURRENT) as pool:
        intact = bounded_map(
            pool, lambda item: _is_intact(store, *item), shards.items(), _MAX_CONCURRENT
        )
        corrupt = [key for key, is_intact in zip(shards, intact, strict=True) if not is_intact]
    for key in corrupt:
        store.delete(f"{plan.folder}/{keys.part_name(shards[key][0].shard)}")
    if corrupt:
        raise CorruptObjectError(
            f"{store.location(corrupt[0])} is corrupt or missing"
            + (f", and {len(corrupt) - 1} more" if corrupt[1:] else "")
            + ". Run again to extract it again."
        )


def invalidate_truncated_shards(plan: PairSetPlan, store: ObjectStore) -> bool:
    """Delete the parts of missing and truncated shards, so that the shards are extracted again.

    Only the sizes of the objects are checked, with one listing of the folder. An extraction is
    deterministic, so the manifest of the published pair set stays valid.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    store : ObjectStore
        Store that contains the pair set.

    Returns
    -------
    bool
        Whether any shard was missing or truncated.
    """
    reader = open_pairs(store, plan.dataset.name, plan.fingerprint, plan.settings)
    if reader.raw is not None:
        return False
    rows = load_rows(store, keys.manifest(plan.dataset.name, plan.fingerprint)) or []
    sizes = {entry.key: entry.size for entry in store.list_objects(plan.folder)}
    truncated = {
        row.shard
        for row in rows
        if row.status == "pair"
        and row.offset is not None
        and row.size is not None
        and sizes.get(reader.key(row), 0) < row.offset + row.size
    }
    for shard in truncated:
        store.delete(f"{plan.folder}/{keys.part_name(shard)}")
    return bool(truncated)


def _is_intact(store: ObjectStore, key: str, pairs: list[ManifestRow]) -> bool:
    try:
        with store.local_copy(key) as path, path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for row in pairs:
                assert row.offset is not None and row.size is not None, "a pair has offset and size"
                file.seek(row.offset)
                if row.offset + row.size > size or file.read(len(_PNG_SIGNATURE)) != _PNG_SIGNATURE:
                    return False
    except (CorruptObjectError, NotFoundError):
        return False
    return True
