"""Pair sets: reading published ones, listing them, and the pointer to the one in use."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from config.errors import (
    ConflictError,
    CorruptObjectError,
    NotFoundError,
)
from storage import keys
from storage.json_objects import read_json
from storage.manifest import ManifestRow, PairIndex, pair_index_from_parquet, rows_from_parquet
from storage.pins import ensure_pinned, pin
from storage.raw_sets import read_origin
from storage.store import ObjectStore, get_or_none


class CurrentPairs(BaseModel):
    """Content of ``current.json``: the pair set in use.

    Attributes
    ----------
    fingerprint : str
        Fingerprint of the pair set.
    source : str
        Where its files came from, as one line: a path, or the JSON of a remote source.
    train, val : int or None
        Number of pairs in each split; None if they were not counted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: str
    source: str
    train: int | None = None
    val: int | None = None


@dataclass(frozen=True)
class PublishedPairSet:
    """A published pair set.

    Attributes
    ----------
    fingerprint : str
        Fingerprint of the pair set.
    settings : dict
        Content of its ``settings.json``.
    modified : datetime.datetime, UTC
        Time at which its manifest was written, by the store's clock.
    in_use : bool
        Whether ``current.json`` points at it.
    """

    fingerprint: str
    settings: dict[str, Any]
    modified: datetime
    in_use: bool


def read_current(store: ObjectStore, dataset: str) -> CurrentPairs | None:
    """Read the pointer to the pair set in use.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.

    Returns
    -------
    CurrentPairs or None
        None if no pair set was published.

    Raises
    ------
    IntegrityError
        If the pointer cannot be read.
    """
    remedy = f"run `icanvas prepare {dataset}`"
    return read_json(store, keys.current_pairs(dataset), CurrentPairs, remedy)


def swap_current(
    store: ObjectStore,
    dataset: str,
    target: CurrentPairs,
    previous: CurrentPairs | None = None,
) -> None:
    """Point at another pair set, unless the pointer has moved meanwhile.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    target : CurrentPairs
        What to point at.
    previous : CurrentPairs, optional
        What the pointer named when the caller began; None for no pointer.

    Raises
    ------
    ConflictError
        If another process moved the pointer to a third pair set. It is not changed then.
    """
    key = keys.current_pairs(dataset)
    content = get_or_none(store, key)
    new_content = target.model_dump_json().encode()
    if content == new_content:
        return
    conflict = ConflictError(
        f"Another pair set of {dataset} was brought into use while {target.fingerprint} was made. "
        f"{target.fingerprint} is complete. Run the same command again to use it."
    )
    current = read_current(store, dataset)
    if current == target:
        return  # Another process that made the same pair set moved it since the first read.
    if current != previous:
        raise conflict
    try:
        store.compare_and_swap(key, new_content, content)
    except ConflictError:
        # Another process that made the same pair set is no conflict.
        if store.get(key) != new_content:
            raise conflict from None


def is_published(store: ObjectStore, dataset: str, fingerprint: str) -> bool:
    """Check whether a pair set is complete: its manifest is written last.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set.
    """
    return store.exists(keys.manifest(dataset, fingerprint))


def read_manifest(store: ObjectStore, dataset: str, fingerprint: str) -> list[ManifestRow]:
    """Read the rows of a published pair set.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set.

    Returns
    -------
    list of ManifestRow
        One row per source file.

    Raises
    ------
    NotFoundError
        If the pair set does not exist or is not complete.
    CorruptObjectError
        If the manifest is corrupt.
    """
    with _open_manifest(store, dataset, fingerprint) as content:
        return rows_from_parquet(content)


def read_pair_index(store: ObjectStore, dataset: str, fingerprint: str, split: str) -> PairIndex:
    """Read the index of the pairs of one split; errors are those of ``read_manifest``.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set.
    split : {'train', 'val'}
        Which pairs.

    Returns
    -------
    PairIndex
        In the order of the manifest.
    """
    with _open_manifest(store, dataset, fingerprint) as content:
        return pair_index_from_parquet(content, split)


@contextmanager
def _open_manifest(store: ObjectStore, dataset: str, fingerprint: str) -> Iterator[bytes]:
    """Yield a manifest's bytes; raise the block's errors with a message that names the pair set."""
    try:
        yield store.get(keys.manifest(dataset, fingerprint))
    except NotFoundError:
        raise NotFoundError(
            f"Pair set {fingerprint} of {dataset} does not exist in {store.url}. "
            f"Run `icanvas prepare {dataset}`."
        ) from None
    except CorruptObjectError:
        raise CorruptObjectError(
            f"The manifest of pair set {fingerprint} of {dataset} in {store.url} is corrupt. "
            f"Run `icanvas prepare {dataset}` to make it again."
        ) from None


def read_settings(store: ObjectStore, dataset: str, fingerprint: str) -> dict[str, Any]:
    """Read the ``settings.json`` of a pair set: everything that determined its bytes.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set.

    Returns
    -------
    dict
        The settings, as JSON values.

    Raises
    ------
    NotFoundError
        If the pair set does not exist.
    """
    settings: dict[str, Any] = json.loads(store.get(keys.pair_settings(dataset, fingerprint)))
    return settings


def list_pair_sets(store: ObjectStore, dataset: str) -> list[PublishedPairSet]:
    """List the published pair sets of a data set.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.

    Returns
    -------
    list of PublishedPairSet
        The most recently published first.
    """
    current = read_current(store, dataset)
    in_use = None if current is None else current.fingerprint
    pair_sets = []
    for info in store.list_objects(keys.all_pairs_folder(dataset)):
        name = info.key.split("/")[-2]
        if info.key == keys.manifest(dataset, name):
            settings = read_settings(store, dataset, name)
            pair_sets.append(PublishedPairSet(name, settings, info.modified, name == in_use))
    return sorted(pair_sets, key=lambda pairs: pairs.modified, reverse=True)


def use_pair_set(store: ObjectStore, dataset: str, fingerprint: str) -> CurrentPairs:
    """Point ``current.json`` at a published pair set. Nothing is extracted or deleted.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set.

    Returns
    -------
    CurrentPairs
        The new content of the pointer.

    Raises
    ------
    NotFoundError
        If the pair set does not exist or is not complete; the message lists the complete ones.
    ConflictError
        If another process moved the pointer meanwhile, or `icanvas gc` is deleting the pair set.
    """
    previous = read_current(store, dataset)
    if not is_published(store, dataset, fingerprint):
        available = (
            ", ".join(pairs.fingerprint for pairs in list_pair_sets(store, dataset)) or "none"
        )
        raise NotFoundError(
            f"{store.url} has no complete pair set {fingerprint!r} of {dataset}. "
            f"Complete ones: {available}."
        )
    settings = read_settings(store, dataset, fingerprint)
    pin(store, dataset, fingerprint, settings)
    rows = read_manifest(store, dataset, fingerprint)
    splits = [row.split for row in rows if row.status == "pair"]
    origin = read_origin(store, keys.raw_origin(dataset, settings["raw"]))
    source = (
        origin.source if origin is not None else previous.source if previous is not None else ""
    )
    target = CurrentPairs(
        fingerprint=fingerprint,
        source=source,
        train=splits.count("train"),
        val=splits.count("val"),
    )
    swap_current(store, dataset, target, previous)
    ensure_pinned(store, dataset, fingerprint)
    return target


def latest_revision(store: ObjectStore, dataset: str, settings: Mapping[str, Any]) -> int | None:
    """Return the highest published revision of a pair set.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    settings : mapping
        Settings of the pair set; its revision is ignored.

    Returns
    -------
    int or None
        None if no revision is published.
    """
    expected = {**json.loads(json.dumps(settings)), "revision": None}
    revisions = []
    for key in store.list_keys(keys.all_pairs_folder(dataset)):
        name = key.split("/")[-2]
        if key == keys.manifest(dataset, name):
            # Skip sets whose settings cannot be read, or that are being deleted.
            with suppress(NotFoundError, CorruptObjectError, ValueError):
                stored = read_settings(store, dataset, name)
                if {**stored, "revision": None} == expected:
                    revisions.append(int(stored.get("revision", 0)))
    return max(revisions, default=None)


def list_prepared_datasets(store: ObjectStore) -> list[str]:
    """List the data sets that have a pair set in use.

    Parameters
    ----------
    store : ObjectStore
        The store.

    Returns
    -------
    list of str
        Names in ascending order.
    """
    keys_in_order = store.list_keys("datasets")
    return [key.split("/")[1] for key in keys_in_order if key.endswith("/pairs/current.json")]
