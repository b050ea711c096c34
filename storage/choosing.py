"""Which pair sets of a data set there are, and putting another one into use."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config.errors import NotFoundError
from storage import keys
from storage.pair_sets import (
    CurrentPairs,
    is_published,
    read_current,
    read_manifest,
    read_settings,
    swap_current,
)
from storage.pins import check_kept, claim
from storage.raw_sets import read_origin
from storage.store import ObjectStore


@dataclass(frozen=True)
class PublishedPairs:
    """One published pair set.

    Attributes
    ----------
    fingerprint, settings : which, and what it was made with.
    modified : when its manifest was written, by the store's clock.
    in_use : whether ``current.json`` points at it.
    """

    fingerprint: str
    settings: dict[str, Any]
    modified: datetime
    in_use: bool


def list_published(store: ObjectStore, dataset: str) -> list[PublishedPairs]:
    """Return the complete pair sets of a data set, the newest first."""
    current = read_current(store, dataset)
    in_use = None if current is None else current.fingerprint
    found = []
    for entry in store.entries(keys.all_pairs_folder(dataset)):
        name = entry.key.split("/")[-2]
        if entry.key == keys.manifest(dataset, name):
            settings = read_settings(store, dataset, name)
            found.append(PublishedPairs(name, settings, entry.modified, name == in_use))
    return sorted(found, key=lambda pairs: pairs.modified, reverse=True)


def use_pairs(store: ObjectStore, dataset: str, fingerprint: str) -> CurrentPairs:
    """Point at a published pair set; nothing is extracted and nothing removed.

    Raises
    ------
    NotFoundError
        If there is no such pair set, or it is not complete; the message lists those that are.
    ConflictError
        If someone else moved the pointer in this moment, or `icanvas gc` is removing the set.
    """
    before = read_current(store, dataset)
    if not is_published(store, dataset, fingerprint):
        there = ", ".join(pairs.fingerprint for pairs in list_published(store, dataset)) or "none"
        raise NotFoundError(
            f"{store.url} holds no complete pair set {fingerprint!r} of {dataset}. "
            f"There is: {there}."
        )
    settings = read_settings(store, dataset, fingerprint)
    claim(store, dataset, fingerprint, settings)
    rows = read_manifest(store, dataset, fingerprint)
    splits = [row.split for row in rows if row.status == "pair"]
    origin = read_origin(store, keys.raw_origin(dataset, settings["raw"]))
    source = origin.source if origin is not None else before.source if before is not None else ""
    chosen = CurrentPairs(
        fingerprint=fingerprint,
        source=source,
        train=splits.count("train"),
        val=splits.count("val"),
    )
    swap_current(store, dataset, chosen, before)
    check_kept(store, dataset, fingerprint)
    return chosen
