"""What a store holds that may go, and its removal."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from pydantic import BaseModel

from config.errors import NotFoundError
from storage import keys
from storage.gc_lock import hold_gc_lock
from storage.gc_policy import (
    DEFAULT_RETENTION,
    CheckpointRetention,
    ExportFolder,
    GcCandidate,
    GcPolicy,
    Inventory,
    StoredCheckpoint,
    StoredPairSet,
    retained_checkpoints,
    select_candidates,
)
from storage.json_objects import read_json
from storage.object_info import ObjectInfo
from storage.pair_sets import read_current
from storage.promotions import read_promoted
from storage.runs import Run, checkpoint_name, read_checkpoint_record, record_name
from storage.store import ObjectStore

# A run has a record an epoch, and each is a request.
_READ_THREADS = 16

# Longer than a request that is repeated takes at most: one of a process that lives may hang.
_LOCK_TIMEOUT = timedelta(minutes=6)


class _RetentionFields(BaseModel):
    keep_last: int = DEFAULT_RETENTION.last
    keep_best: int = DEFAULT_RETENTION.best


class _RunRecipe(BaseModel):
    """Of a run's ``recipe.json``, the pair set that it learns from, and what it keeps."""

    pairs: str
    recipe: _RetentionFields = _RetentionFields()


def scan(store: ObjectStore, dataset: str | None = None) -> Inventory:
    """Return what there is of pair sets, checkpoints and uploads, and what of it is needed.

    Parameters
    ----------
    store : the store.
    dataset : of this data set only.

    Raises
    ------
    IntegrityError
        If a pointer or a recipe cannot be read: nobody knows then what it needs.
    """
    roots = [root if dataset is None else f"{root}/{dataset}" for root in ("datasets", "models")]
    now = _read_clock(store)
    pair_sets: defaultdict[tuple[str, str], list[ObjectInfo]] = defaultdict(list)
    checkpoints: defaultdict[tuple[str, str, str], list[ObjectInfo]] = defaultdict(list)
    exports: defaultdict[tuple[str, str], list[ObjectInfo]] = defaultdict(list)
    recipes: dict[tuple[str, str], str] = {}
    for info in (entry for root in roots for entry in store.list_objects(root)):
        match info.key.split("/"):
            case ["datasets", name, "pairs", fingerprint, _, *_]:
                pair_sets[name, fingerprint].append(info)
            case ["models", name, "promoted", export, _, *_]:
                exports[name, export].append(info)
            case ["models", name, run, "checkpoints", file] if file.endswith((".pt", ".json")):
                checkpoints[name, run, file.rpartition(".")[0] + ".pt"].append(info)
            case ["models", name, run, "recipe.json"]:
                recipes[name, run] = info.key
    with ThreadPoolExecutor(_READ_THREADS) as pool:
        stored_checkpoints = tuple(
            pool.map(lambda item: _read_checkpoint(store, *item), checkpoints.items())
        )
        run_recipes = pool.map(lambda key: _read_recipe(store, key), recipes.values())
        runs = dict(zip(recipes, run_recipes, strict=True))
    current = _current_pair_sets(store, {name for name, _ in pair_sets})
    training_sets = [keys.pairs_folder(name, one.pairs) for (name, _), one in runs.items()]
    promoted = _promoted_paths(store, {name for name, *_ in (*checkpoints, *exports)})
    return Inventory(
        now=now,
        pair_sets=tuple(_to_pair_set(name, entries) for name, entries in pair_sets.items()),
        checkpoints=stored_checkpoints,
        exports=tuple(
            ExportFolder(name, keys.export_folder(name, export), tuple(entries))
            for (name, export), entries in exports.items()
        ),
        uploads=tuple(upload for root in roots for upload in store.list_uploads(root)),
        retention={
            run: CheckpointRetention(one.recipe.keep_last, one.recipe.keep_best)
            for run, one in runs.items()
        },
        referenced=frozenset([*training_sets, *current, *promoted]),
    )


def collect(
    store: ObjectStore,
    policy: GcPolicy,
    candidates: list[GcCandidate],
    dataset: str | None = None,
    on_deleted: Callable[[], None] = lambda: None,
    lock_timeout: timedelta = _LOCK_TIMEOUT,
) -> list[GcCandidate]:
    """Remove what was planned, unless it is needed by now, and return what went.

    Whoever comes to need something meanwhile is met by the announcement; see
    ``storage.gc_lock``. What was begun by a killed process is finished by another one.

    Parameters
    ----------
    store : the store.
    rules, dataset : as for the plan, which is made again.
    planned : what may go.
    on_object : called after each object.
    patience : how long another process must be silent to count as killed.

    Raises
    ------
    ConflictError
        If another process is removing.
    IntegrityError
        As ``take_inventory`` does; nothing is removed then.
    """
    deleted = []
    with hold_gc_lock(store, [item.path for item in candidates], lock_timeout) as renew:
        current_candidates = select_candidates(scan(store, dataset), policy)
        by_path = {item.path: item for item in current_candidates}
        for item in (by_path[item.path] for item in candidates if item.path in by_path):
            for key in item.keys:
                renew()
                store.delete(key)
                on_deleted()
            if item.upload is not None:
                renew()
                store.abort_upload(item.upload)
                on_deleted()
            deleted.append(item)
    return deleted


def prune_run(
    store: ObjectStore,
    dataset: str,
    run: str,
    retention: CheckpointRetention,
    pending: Collection[str] = (),
) -> None:
    """Remove the checkpoints of a run in training that it does not keep.

    Unlike ``sweep`` it announces nothing: a record goes first, then the pointer is read again, and
    where it names that checkpoint by now the record comes back. Whoever promotes looks for the
    record after moving the pointer, so that one of the two sees the other.

    Half a checkpoint, as one that was killed here leaves, goes where it is older than one that is
    whole: a run writes only newer ones.

    Parameters
    ----------
    store : the store, or what waits for it.
    dataset, run : which run.
    keeping : what stays.
    coming : keys that are on their way: a record, while its checkpoint's bytes are there already.

    Raises
    ------
    IntegrityError
        If the pointer cannot be read.
    """
    folder = Run(store, dataset, run).key("checkpoints")
    objects: defaultdict[str, list[ObjectInfo]] = defaultdict(list)
    for entry in store.list_objects(folder):
        objects[entry.key.removeprefix(f"{folder}/").rpartition(".")[0] + ".pt"].append(entry)
    checkpoints = [_read_checkpoint(store, (dataset, run, name), objects[name]) for name in objects]
    retained = {*_promoted_paths(store, [dataset]), *retained_checkpoints(checkpoints, retention)}
    complete_records = [
        one.record for one in checkpoints if one.is_complete and one.record is not None
    ]
    newest = max(complete_records, key=lambda record: record.step, default=None)
    for one in checkpoints:
        if one.path in retained:
            continue
        if not one.is_complete:
            is_abandoned = newest is not None and newest.is_at_or_after(one.path)
            if is_abandoned and record_name(one.path) not in pending:
                for entry in one.objects:
                    store.delete(entry.key)
        elif one.record is not None:
            store.delete(record_name(one.path))
            if one.path in _promoted_paths(store, [dataset]):
                store.put(record_name(one.path), one.record.model_dump_json().encode())
            else:
                store.delete(one.path)


def _read_clock(store: ObjectStore) -> datetime:
    """Return what time it is for the store."""
    folder, _, _ = keys.gc_clock().rpartition("/")
    while True:
        store.put(keys.gc_clock(), b"")
        times = [
            entry.modified for entry in store.list_objects(folder) if entry.key == keys.gc_clock()
        ]
        store.delete(keys.gc_clock())
        # Another process may have deleted it first.
        if times:
            return times[0]


def _to_pair_set(name: tuple[str, str], objects: list[ObjectInfo]) -> StoredPairSet:
    dataset, fingerprint = name
    manifest = keys.manifest(dataset, fingerprint)
    return StoredPairSet(
        dataset=dataset,
        fingerprint=fingerprint,
        path=keys.pairs_folder(dataset, fingerprint),
        published=any(entry.key == manifest for entry in objects),
        objects=tuple(objects),
    )


def _read_checkpoint(
    store: ObjectStore, name: tuple[str, str, str], objects: list[ObjectInfo]
) -> StoredCheckpoint:
    dataset, run, file = name
    path = Run(store, dataset, run).key(f"checkpoints/{file}")
    record_key = record_name(path)
    has_record = any(entry.key == record_key for entry in objects)
    return StoredCheckpoint(
        dataset=dataset,
        run=run,
        path=path,
        record=read_checkpoint_record(store, record_key) if has_record else None,
        objects=tuple(objects),
    )


def _current_pair_sets(store: ObjectStore, datasets: Iterable[str]) -> Iterator[str]:
    for dataset in datasets:
        current = read_current(store, dataset)
        if current is not None:
            yield keys.pairs_folder(dataset, current.fingerprint)


def _promoted_paths(store: ObjectStore, datasets: Iterable[str]) -> Iterator[str]:
    """Yield the places of what is served, and of what was: the checkpoint, and its files."""
    for dataset in datasets:
        promoted = read_promoted(store, dataset)
        if promoted is not None:
            for one in (promoted, *promoted.previous):
                yield Run(store, dataset, one.run).key(checkpoint_name(one.epoch))
                yield keys.export_folder(dataset, one.export)


def _read_recipe(store: ObjectStore, key: str) -> _RunRecipe:
    recipe = read_json(store, key, _RunRecipe, "train again, before `icanvas gc`")
    if recipe is None:
        raise NotFoundError(f"{store.location(key)} was removed meanwhile. Run again.")
    return recipe
