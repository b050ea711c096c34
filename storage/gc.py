"""What a store holds that may go, and its removal."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from pydantic import BaseModel

from config.errors import NotFoundError
from storage import keys
from storage.gc_lock import announced
from storage.gc_policy import (
    DEFAULT,
    Inventory,
    Keeping,
    Removable,
    Rules,
    StoredCheckpoint,
    StoredFiles,
    StoredSet,
    kept_checkpoints,
    plan_removal,
)
from storage.json_objects import read_record
from storage.object_info import Entry
from storage.pair_sets import read_current
from storage.promotions import read_promoted
from storage.runs import Run, checkpoint_name, read_checkpoint_record, record_name
from storage.store import ObjectStore

# A run has a record an epoch, and each is a request.
_READERS = 16

# Longer than a request that is repeated takes at most: one of a process that lives may hang.
_PATIENCE = timedelta(minutes=6)


class _Keeping(BaseModel):
    keep_last: int = DEFAULT.last
    keep_best: int = DEFAULT.best


class _Recipe(BaseModel):
    """Of a run's ``recipe.json``, the pair set that it learns from, and what it keeps."""

    pairs: str
    recipe: _Keeping = _Keeping()


def take_inventory(store: ObjectStore, dataset: str | None = None) -> Inventory:
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
    sets: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    checkpoints: defaultdict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    exports: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    recipes: dict[tuple[str, str], str] = {}
    for entry in (entry for root in roots for entry in store.entries(root)):
        match entry.key.split("/"):
            case ["datasets", name, "pairs", fingerprint, _, *_]:
                sets[name, fingerprint].append(entry)
            case ["models", name, "promoted", export, _, *_]:
                exports[name, export].append(entry)
            case ["models", name, run, "checkpoints", file] if file.endswith((".pt", ".json")):
                checkpoints[name, run, file.rpartition(".")[0] + ".pt"].append(entry)
            case ["models", name, run, "recipe.json"]:
                recipes[name, run] = entry.key
    with ThreadPoolExecutor(_READERS) as pool:
        read = tuple(pool.map(lambda item: _read_checkpoint(store, *item), checkpoints.items()))
        facts = pool.map(lambda key: _read_recipe(store, key), recipes.values())
        runs = dict(zip(recipes, facts, strict=True))
    current = _find_current(store, {name for name, _ in sets})
    learned_from = [keys.pairs_folder(name, one.pairs) for (name, _), one in runs.items()]
    promoted = _find_promoted(store, {name for name, *_ in (*checkpoints, *exports)})
    return Inventory(
        now=now,
        sets=tuple(_as_set(name, entries) for name, entries in sets.items()),
        checkpoints=read,
        exports=tuple(
            StoredFiles(name, keys.export_folder(name, export), tuple(entries))
            for (name, export), entries in exports.items()
        ),
        uploads=tuple(upload for root in roots for upload in store.uploads(root)),
        keeping={
            run: Keeping(one.recipe.keep_last, one.recipe.keep_best) for run, one in runs.items()
        },
        needed=frozenset([*learned_from, *current, *promoted]),
    )


def sweep(
    store: ObjectStore,
    rules: Rules,
    planned: list[Removable],
    dataset: str | None = None,
    on_object: Callable[[], None] = lambda: None,
    patience: timedelta = _PATIENCE,
) -> list[Removable]:
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
    removed = []
    with announced(store, [item.place for item in planned], patience) as keep_on:
        again = plan_removal(take_inventory(store, dataset), rules)
        still = {item.place: item for item in again}
        for item in (still[item.place] for item in planned if item.place in still):
            for key in item.keys:
                keep_on()
                store.delete(key)
                on_object()
            if item.upload is not None:
                keep_on()
                store.abort(item.upload)
                on_object()
            removed.append(item)
    return removed


def prune(
    store: ObjectStore, dataset: str, run: str, keeping: Keeping, coming: Collection[str] = ()
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
    entries: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in store.entries(folder):
        entries[entry.key.removeprefix(f"{folder}/").rpartition(".")[0] + ".pt"].append(entry)
    found = [_read_checkpoint(store, (dataset, run, name), entries[name]) for name in entries]
    kept = {*_find_promoted(store, [dataset]), *kept_checkpoints(found, keeping)}
    whole = [one.record for one in found if one.whole and one.record is not None]
    newest = max(whole, key=lambda record: record.step, default=None)
    for one in found:
        if one.place in kept:
            continue
        if not one.whole:
            left = newest is not None and newest.follows(one.place)
            if left and record_name(one.place) not in coming:
                for entry in one.entries:
                    store.delete(entry.key)
        elif one.record is not None:
            store.delete(record_name(one.place))
            if one.place in _find_promoted(store, [dataset]):
                store.put(record_name(one.place), one.record.model_dump_json().encode())
            else:
                store.delete(one.place)


def _read_clock(store: ObjectStore) -> datetime:
    """Return what time it is for the store."""
    folder, _, _ = keys.clock().rpartition("/")
    while True:
        store.put(keys.clock(), b"")
        found = [entry.modified for entry in store.entries(folder) if entry.key == keys.clock()]
        store.delete(keys.clock())
        # Another process may have deleted it first.
        if found:
            return found[0]


def _as_set(name: tuple[str, str], entries: list[Entry]) -> StoredSet:
    dataset, fingerprint = name
    manifest = keys.manifest(dataset, fingerprint)
    return StoredSet(
        dataset=dataset,
        fingerprint=fingerprint,
        place=keys.pairs_folder(dataset, fingerprint),
        published=any(entry.key == manifest for entry in entries),
        entries=tuple(entries),
    )


def _read_checkpoint(
    store: ObjectStore, name: tuple[str, str, str], entries: list[Entry]
) -> StoredCheckpoint:
    dataset, run, file = name
    place = Run(store, dataset, run).key(f"checkpoints/{file}")
    record = record_name(place)
    there = any(entry.key == record for entry in entries)
    return StoredCheckpoint(
        dataset=dataset,
        run=run,
        place=place,
        record=read_checkpoint_record(store, record) if there else None,
        entries=tuple(entries),
    )


def _find_current(store: ObjectStore, datasets: Iterable[str]) -> Iterator[str]:
    for dataset in datasets:
        current = read_current(store, dataset)
        if current is not None:
            yield keys.pairs_folder(dataset, current.fingerprint)


def _find_promoted(store: ObjectStore, datasets: Iterable[str]) -> Iterator[str]:
    """Yield the places of what is served, and of what was: the checkpoint, and its files."""
    for dataset in datasets:
        promoted = read_promoted(store, dataset)
        if promoted is not None:
            for one in (promoted, *promoted.previous):
                yield Run(store, dataset, one.run).key(checkpoint_name(one.epoch))
                yield keys.export_folder(dataset, one.export)


def _read_recipe(store: ObjectStore, key: str) -> _Recipe:
    recipe = read_record(store, key, _Recipe, "train again, before `icanvas gc`")
    if recipe is None:
        raise NotFoundError(f"{store.location(key)} was removed meanwhile. Run again.")
    return recipe
