"""Garbage collection: scan a store for objects that nothing needs, and delete them."""

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

# A run has one record per epoch, and reading each is a request.
_READ_THREADS = 16

# Longer than a request can take with all its retries, which delay the heartbeat of a live process.
_LOCK_TIMEOUT = timedelta(minutes=6)


class _RetentionFields(BaseModel):
    keep_last: int = DEFAULT_RETENTION.last
    keep_best: int = DEFAULT_RETENTION.best


class _RunRecipe(BaseModel):
    """The fields of a run's ``recipe.json`` that matter here: its pair set, and what it retains."""

    pairs: str
    recipe: _RetentionFields = _RetentionFields()


def scan(store: ObjectStore, dataset: str | None = None) -> Inventory:
    """List pair sets, checkpoints, exports and unfinished uploads, and what is referenced.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str, optional
        Limit the scan to this data set.

    Returns
    -------
    Inventory
        Input of ``storage.gc_policy.select_candidates``.

    Raises
    ------
    IntegrityError
        If a pointer or a recipe cannot be read, so that what it references is unknown.
    """
    roots = [root if dataset is None else f"{root}/{dataset}" for root in ("datasets", "models")]
    now = _read_clock(store)
    pair_sets: defaultdict[tuple[str, str], list[ObjectInfo]] = defaultdict(list)
    checkpoints: defaultdict[tuple[str, str, str], list[ObjectInfo]] = defaultdict(list)
    exports: defaultdict[tuple[str, str], list[ObjectInfo]] = defaultdict(list)
    recipes: dict[tuple[str, str], str] = {}
    for info in (info for root in roots for info in store.list_objects(root)):
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
    training_sets = [keys.pairs_folder(name, recipe.pairs) for (name, _), recipe in runs.items()]
    promoted = _promoted_paths(store, {name for name, *_ in (*checkpoints, *exports)})
    return Inventory(
        now=now,
        pair_sets=tuple(_to_pair_set(name, objects) for name, objects in pair_sets.items()),
        checkpoints=stored_checkpoints,
        exports=tuple(
            ExportFolder(name, keys.export_folder(name, export), tuple(objects))
            for (name, export), objects in exports.items()
        ),
        uploads=tuple(upload for root in roots for upload in store.list_uploads(root)),
        retention={
            run: CheckpointRetention(recipe.recipe.keep_last, recipe.recipe.keep_best)
            for run, recipe in runs.items()
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
    """Delete those candidates that are still not needed.

    A lock names the candidates while they are deleted, so that other processes do not start to rely
    on them (see ``storage.gc_lock``). The deletion of a killed process is completed by the next
    call.

    Parameters
    ----------
    store : ObjectStore
        The store.
    policy : GcPolicy
        As for ``select_candidates``, which is called again.
    candidates : list of GcCandidate
        What to delete.
    dataset : str, optional
        As for ``scan``, which is called again.
    on_deleted : callable, optional
        Called after each deleted object or aborted upload.
    lock_timeout : datetime.timedelta, optional
        How long the lock of another process must be without a heartbeat to count as abandoned.

    Returns
    -------
    list of GcCandidate
        What was deleted.

    Raises
    ------
    ConflictError
        If another process is collecting.
    IntegrityError
        As for ``scan``; nothing is deleted then.
    """
    deleted = []
    with hold_gc_lock(store, [candidate.path for candidate in candidates], lock_timeout) as renew:
        current_candidates = select_candidates(scan(store, dataset), policy)
        by_path = {candidate.path: candidate for candidate in current_candidates}
        for candidate in (
            by_path[candidate.path] for candidate in candidates if candidate.path in by_path
        ):
            for key in candidate.keys:
                renew()
                store.delete(key)
                on_deleted()
            if candidate.upload is not None:
                renew()
                store.abort_upload(candidate.upload)
                on_deleted()
            deleted.append(candidate)
    return deleted


def prune_run(
    store: ObjectStore,
    dataset: str,
    run: str,
    retention: CheckpointRetention,
    pending: Collection[str] = (),
) -> None:
    """Delete the checkpoints that a run in training does not retain.

    Unlike ``collect`` it needs no lock. It deletes a record, then reads the pointer again and
    restores the record if the pointer names that checkpoint by now. A promotion checks the record
    after moving the pointer, so at least one of the two sees the other.

    An incomplete checkpoint, as a killed process leaves it, is deleted if a complete one is newer:
    a run writes only newer ones.

    Parameters
    ----------
    store : ObjectStore
        The store, or the local folder of pending uploads.
    dataset : str
        Name of the data set.
    run : str
        Name of the run.
    retention : CheckpointRetention
        Which checkpoints to retain.
    pending : collection of str, optional
        Keys of files that are still to be uploaded, such as the record of a checkpoint whose bytes
        are uploaded already.

    Raises
    ------
    IntegrityError
        If the pointer cannot be read.
    """
    folder = Run(store, dataset, run).key("checkpoints")
    objects: defaultdict[str, list[ObjectInfo]] = defaultdict(list)
    for info in store.list_objects(folder):
        objects[info.key.removeprefix(f"{folder}/").rpartition(".")[0] + ".pt"].append(info)
    checkpoints = [_read_checkpoint(store, (dataset, run, name), objects[name]) for name in objects]
    retained = {*_promoted_paths(store, [dataset]), *retained_checkpoints(checkpoints, retention)}
    complete_records = [
        checkpoint.record
        for checkpoint in checkpoints
        if checkpoint.is_complete and checkpoint.record is not None
    ]
    newest = max(complete_records, key=lambda record: record.step, default=None)
    for checkpoint in checkpoints:
        if checkpoint.path in retained:
            continue
        if not checkpoint.is_complete:
            is_abandoned = newest is not None and newest.is_at_or_after(checkpoint.path)
            if is_abandoned and record_name(checkpoint.path) not in pending:
                for info in checkpoint.objects:
                    store.delete(info.key)
        elif checkpoint.record is not None:
            store.delete(record_name(checkpoint.path))
            if checkpoint.path in _promoted_paths(store, [dataset]):
                store.put(
                    record_name(checkpoint.path), checkpoint.record.model_dump_json().encode()
                )
            else:
                store.delete(checkpoint.path)


def _read_clock(store: ObjectStore) -> datetime:
    """Return the store's current time, as the modification time of a new object."""
    folder, _, _ = keys.gc_clock().rpartition("/")
    while True:
        store.put(keys.gc_clock(), b"")
        times = [
            info.modified for info in store.list_objects(folder) if info.key == keys.gc_clock()
        ]
        store.delete(keys.gc_clock())
        # Another process may have deleted the object before it was listed.
        if times:
            return times[0]


def _to_pair_set(name: tuple[str, str], objects: list[ObjectInfo]) -> StoredPairSet:
    dataset, fingerprint = name
    manifest = keys.manifest(dataset, fingerprint)
    return StoredPairSet(
        dataset=dataset,
        fingerprint=fingerprint,
        path=keys.pairs_folder(dataset, fingerprint),
        published=any(info.key == manifest for info in objects),
        objects=tuple(objects),
    )


def _read_checkpoint(
    store: ObjectStore, name: tuple[str, str, str], objects: list[ObjectInfo]
) -> StoredCheckpoint:
    dataset, run, file = name
    path = Run(store, dataset, run).key(f"checkpoints/{file}")
    record_key = record_name(path)
    has_record = any(info.key == record_key for info in objects)
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
    """Yield keys of the checkpoints and folders of the exports that are or were served."""
    for dataset in datasets:
        promoted = read_promoted(store, dataset)
        if promoted is not None:
            for promotion in (promoted, *promoted.previous):
                yield Run(store, dataset, promotion.run).key(checkpoint_name(promotion.epoch))
                yield keys.export_folder(dataset, promotion.export)


def _read_recipe(store: ObjectStore, key: str) -> _RunRecipe:
    recipe = read_json(store, key, _RunRecipe, "train again, before `icanvas gc`")
    if recipe is None:
        raise NotFoundError(f"{store.location(key)} was deleted by another process. Run again.")
    return recipe
