"""Coming to need a pair set, so that `icanvas gc` knows or is known of."""

import json
from collections.abc import Mapping
from typing import Any

from config.errors import IntegrityError
from storage import keys
from storage.gc_lock import ensure_not_collected
from storage.store import ObjectStore


def pin(store: ObjectStore, dataset: str, fingerprint: str, settings: Mapping[str, Any]) -> None:
    """Say that a pair set is in the making or comes into use, before anything of it is relied on.

    Its ``settings.json`` is written (again), which makes it young: `icanvas gc` leaves it alone.

    Raises
    ------
    ConflictError
        If `icanvas gc` is removing it.
    """
    store.put(keys.pair_settings(dataset, fingerprint), json.dumps(settings, indent=2).encode())
    ensure_not_collected(store, keys.pairs_folder(dataset, fingerprint))


def ensure_pinned(store: ObjectStore, dataset: str, fingerprint: str) -> None:
    """Make sure that a pair set is there to stay, now that a pointer or a run needs it.

    Raises
    ------
    ConflictError
        If `icanvas gc` is removing it.
    IntegrityError
        If it has.
    """
    # In this order: what is removed is not published any more before the announcement goes.
    ensure_not_collected(store, keys.pairs_folder(dataset, fingerprint))
    if not store.exists(keys.manifest(dataset, fingerprint)):
        raise IntegrityError(
            f"Pair set {fingerprint} of {dataset} was removed by `icanvas gc` meanwhile. Run "
            f"`icanvas prepare {dataset}`, then this again."
        )
