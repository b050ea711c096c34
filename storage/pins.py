"""Pin pair sets: protect one that a writer or a run needs from `icanvas gc`."""

import json
from collections.abc import Mapping
from typing import Any

from config.errors import IntegrityError
from storage import keys
from storage.gc_lock import ensure_not_collected
from storage.store import ObjectStore


def pin(store: ObjectStore, dataset: str, fingerprint: str, settings: Mapping[str, Any]) -> None:
    """Protect a pair set that is being made or brought into use from `icanvas gc`.

    Call it before relying on any object of the pair set. It writes ``settings.json`` (again), so
    that the pair set counts as recently modified and `icanvas gc` skips it.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set.
    settings : mapping
        Content of ``settings.json``.

    Raises
    ------
    ConflictError
        If `icanvas gc` is deleting the pair set.
    """
    store.put(keys.pair_settings(dataset, fingerprint), json.dumps(settings, indent=2).encode())
    ensure_not_collected(store, keys.pairs_folder(dataset, fingerprint))


def ensure_pinned(store: ObjectStore, dataset: str, fingerprint: str) -> None:
    """Check that a pair set exists and stays, after a pointer or a run was written that needs it.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set.

    Raises
    ------
    ConflictError
        If `icanvas gc` is deleting the pair set.
    IntegrityError
        If `icanvas gc` has deleted it.
    """
    # In this order: `icanvas gc` deletes the manifest before it releases the lock.
    ensure_not_collected(store, keys.pairs_folder(dataset, fingerprint))
    if not store.exists(keys.manifest(dataset, fingerprint)):
        raise IntegrityError(
            f"Pair set {fingerprint} of {dataset} was deleted by `icanvas gc`. Run "
            f"`icanvas prepare {dataset}`, then this again."
        )
