"""Uploaders of one run, and stores that reject their uploads."""

import threading
from collections.abc import Callable
from pathlib import Path

from config.errors import StorageError
from storage import ObjectStore
from storage.gc_policy import CheckpointRetention
from storage.uploads import AsyncUploader
from tests.storage.contents import observe_calls


def make_uploader(
    store: ObjectStore,
    on_error: Callable[[str], None] = print,
    grace_s: float = 30,
    should_stop: Callable[[], bool] = lambda: False,
) -> AsyncUploader:
    return AsyncUploader(
        store, "demo", "run", CheckpointRetention(), grace_s, should_stop, on_error
    )


def list_pending_files(cache: Path) -> list[str]:
    paths = (cache / "runs").rglob("*")
    return sorted(path.name for path in paths if path.is_file() and path.suffix != ".lock")


def make_failing_store(store: ObjectStore, is_failing: Callable[[], bool]) -> ObjectStore:
    def refuse(call: str) -> None:
        if call == "put_file" and is_failing():
            raise StorageError("the store is full.")

    return observe_calls(store, refuse)


def make_hanging_store(store: ObjectStore, released: threading.Event) -> ObjectStore:
    def hang(call: str) -> None:
        if call == "put_file":
            released.wait(60)

    return observe_calls(store, hang)
