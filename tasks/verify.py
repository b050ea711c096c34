"""Reads stored shards back before anything points at them."""

import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from config.errors import CorruptObjectError, NotFoundError
from storage import ObjectStore, keys
from storage.manifest import ManifestRow, load_rows
from storage.pair_reader import open_pairs
from tasks.bounded_map import bounded_map
from tasks.pair_set_plan import PairSetPlan

# Shards that are read at once: one connection does not saturate the link to S3.
_MAX_CONCURRENT = 4

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def verify_shards(plan: PairSetPlan, rows: list[ManifestRow], store: ObjectStore) -> None:
    """Read all pair shards back. A corrupt shard counts as not extracted.

    Objects in S3 are checked against their SHA-256, and each pair must start where its row says.
    Published pairs stay in raw shards, which extraction has checked.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    rows : list of ManifestRow
        All of its rows.
    store : ObjectStore
        Holds the pair set.

    Raises
    ------
    CorruptObjectError
        If a shard is missing or corrupt. Extracting again replaces it.
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
    """Mark missing and truncated shards of a published pair set as not extracted.

    Sizes come from one listing; nothing is read. Extracting again produces the same bytes,
    so the manifest stays valid.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    store : ObjectStore
        Holds the pair set.

    Returns
    -------
    bool
        Whether there were such shards.
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
