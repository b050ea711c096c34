"""Files of training runs on this machine that are not in the store yet."""

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
    """Files of one run on this machine that are not in the store yet.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    run : str
        Name of the run.
    folder : str
        Path of the files.
    size : int, bytes
        Total size of the files.
    """

    dataset: str
    run: str
    folder: str
    size: int


def list_pending(store: ObjectStore) -> list[PendingUpload]:
    """List the files on this machine that are to be uploaded to a store, also of runs in training.

    Parameters
    ----------
    store : ObjectStore
        Where the files are to go.

    Returns
    -------
    list of PendingUpload
        One entry per run.
    """
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
    """Return the folder in this machine's cache for files that are to be uploaded to a store.

    Parameters
    ----------
    store : ObjectStore
        Where the files are to go.
    """
    return get_settings().cache / "runs" / fingerprint({"store": store.identity})


def next_upload(pending: Collection[str], failed: Collection[str]) -> str:
    """Return the file to upload next: samples and metrics, then checkpoints, the newest first.

    A record goes after its checkpoint's bytes. A file whose upload has failed goes after all
    others; of several such files, the one that failed first goes first.

    Parameters
    ----------
    pending : collection of str
        Keys of the files to upload; at least one.
    failed : collection of str
        Keys whose last upload failed, in the order of the failures.

    Returns
    -------
    str
        One of ``pending``.
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
    """Check whether a key is that of a record, which marks a checkpoint complete.

    Parameters
    ----------
    key : str
        Key of a run's file.
    """
    return "/checkpoints/" in key and key.endswith(".json")
