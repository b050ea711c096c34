"""What was stored is read back once, before anything points at it."""

import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from config.errors import DamagedError, NotFoundError
from storage import ObjectStore, keys
from storage.manifest import Row, load_rows
from storage.pair_sets import locate_pairs
from tasks.bounded_map import map_ahead
from tasks.pair_set_plan import PairPlan

# Shards that are read back at once: one connection does not fill the line to S3.
_AT_ONCE = 4

_PNG = b"\x89PNG\r\n\x1a\n"


def check_shards(plan: PairPlan, rows: list[Row], store: ObjectStore) -> None:
    """Read every shard of pairs back; one that is damaged counts as not done any more.

    S3's shards are held against their SHA-256, and each pair must begin where its row says. Pairs
    that were published as files stay in the raw shards, which extraction has checked.

    Parameters
    ----------
    plan : the pair set.
    rows : all of its rows.
    store : holds it.

    Raises
    ------
    DamagedError
        If a shard is missing or damaged; extracting again makes it anew.
    """
    stored = locate_pairs(store, plan.dataset.name, plan.fingerprint, plan.settings)
    if stored.raw is not None:
        return
    shards: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.status == "pair":
            shards[stored.key(row)].append(row)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        whole = map_ahead(pool, lambda item: _is_whole(store, *item), shards.items(), _AT_ONCE)
        damaged = [key for key, found in zip(shards, whole, strict=True) if not found]
    for key in damaged:
        store.delete(f"{plan.folder}/{keys.part_name(shards[key][0].shard)}")
    if damaged:
        raise DamagedError(
            f"{store.location(damaged[0])} is damaged or missing"
            + (f", and {len(damaged) - 1} more" if damaged[1:] else "")
            + ". Run again to make it anew."
        )


def forget_cut_shards(plan: PairPlan, store: ObjectStore) -> bool:
    """Let shards of a published set that are gone or cut short count as not done any more.

    Their sizes tell, by one listing: nothing is read. Extracting them again gives the same bytes,
    so that the manifest, which stays, is right again.

    Returns
    -------
    bool
        Whether there was any.
    """
    stored = locate_pairs(store, plan.dataset.name, plan.fingerprint, plan.settings)
    if stored.raw is not None:
        return False
    rows = load_rows(store, keys.manifest(plan.dataset.name, plan.fingerprint)) or []
    sizes = {entry.key: entry.size for entry in store.entries(plan.folder)}
    cut = {
        row.shard
        for row in rows
        if row.status == "pair"
        and row.offset is not None
        and row.size is not None
        and sizes.get(stored.key(row), 0) < row.offset + row.size
    }
    for shard in cut:
        store.delete(f"{plan.folder}/{keys.part_name(shard)}")
    return bool(cut)


def _is_whole(store: ObjectStore, key: str, pairs: list[Row]) -> bool:
    try:
        with store.open_local(key) as path, path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for row in pairs:
                assert row.offset is not None and row.size is not None, "a pair has its place"
                file.seek(row.offset)
                if row.offset + row.size > size or file.read(len(_PNG)) != _PNG:
                    return False
    except (DamagedError, NotFoundError):
        return False
    return True
