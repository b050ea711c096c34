"""Outboxes of one run, and stores that take nothing from them."""

import threading
from collections.abc import Callable
from pathlib import Path

from config.errors import StorageError
from storage import ObjectStore
from storage.gc_policy import Keeping
from storage.uploads import Outbox
from tests.storage.contents import watched


def box(
    store: ObjectStore,
    tell: Callable[[str], None] = print,
    grace: float = 30,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outbox:
    return Outbox(store, "demo", "run", Keeping(), grace, should_stop, tell)


def kept_here(cache: Path) -> list[str]:
    found = (cache / "runs").rglob("*")
    return sorted(path.name for path in found if path.is_file() and path.suffix != ".lock")


def refusing(store: ObjectStore, refused: Callable[[], bool]) -> ObjectStore:
    def refuse(call: str) -> None:
        if call == "put_file" and refused():
            raise StorageError("the store is full.")

    return watched(store, refuse)


def hanging(store: ObjectStore, halted: threading.Event) -> ObjectStore:
    def hang(call: str) -> None:
        if call == "put_file":
            halted.wait(60)

    return watched(store, hang)
