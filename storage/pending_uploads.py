"""What runs have written on this machine and a store does not have: what, where, what is next."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from config.settings import get_settings
from storage.fingerprint import fingerprint
from storage.keys import run_folder
from storage.local import LocalStore
from storage.store import ObjectStore


@dataclass(frozen=True)
class PendingUpload:
    """Files of a run on this machine that the store does not have.

    Attributes
    ----------
    dataset, run : whose.
    folder : where they are.
    size : how many bytes they are.
    """

    dataset: str
    run: str
    folder: str
    size: int


def list_pending(store: ObjectStore) -> list[PendingUpload]:
    """Return what waits on this machine for a store; of a run in training, too."""
    root = pending_folder(store)
    if not root.is_dir():
        return []
    local = LocalStore(root)
    sizes: Counter[tuple[str, str]] = Counter()
    for info in local.list_objects("models"):
        _, dataset, run, *_ = info.key.split("/")
        sizes[dataset, run] += info.size
    return [
        PendingUpload(dataset, run, local.location(run_folder(dataset, run)), size)
        for (dataset, run), size in sizes.items()
    ]


def pending_folder(store: ObjectStore) -> Path:
    """Return the folder of this machine's cache where runs' files wait for a store."""
    return get_settings().cache / "runs" / fingerprint({"store": store.identity})


def next_upload(pending: Collection[str], failed: Collection[str]) -> str:
    """Return what goes next: samples and metrics, then checkpoints, the newest first.

    What was refused lets all others go first, and then what was refused before it; a record waits
    for its checkpoint's bytes.
    """
    ready = [
        key
        for key in pending
        if not (is_checkpoint_record(key) and f"{key.removesuffix('.json')}.pt" in pending)
    ]
    not_failed = [key for key in ready if key not in failed]
    if not_failed:
        return max(not_failed, key=lambda key: key.rpartition(".")[0])
    return next(key for key in failed if key in ready)


def is_checkpoint_record(key: str) -> bool:
    """Tell whether a file says that a checkpoint's bytes are there."""
    return "/checkpoints/" in key and key.endswith(".json")
