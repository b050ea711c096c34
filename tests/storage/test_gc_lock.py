import threading
import time
from datetime import timedelta

import pytest

from config.errors import ConflictError
from storage import LocalStore, ObjectStore, gc_lock
from storage.gc_lock import ensure_not_collected, hold_gc_lock

SOON = timedelta(seconds=0.5)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc_lock, "_HEARTBEAT_INTERVAL_S", 0.05)
    monkeypatch.setattr(gc_lock, "_POLL_INTERVAL_S", 0.1)


def test_locked_paths_conflict_until_release(any_store: ObjectStore) -> None:
    ensure_not_collected(any_store, "a")
    with hold_gc_lock(any_store, ["a", "b"], SOON):
        for path in ("a", "b"):
            with pytest.raises(ConflictError, match=f"{path} is being deleted by `icanvas gc`"):
                ensure_not_collected(any_store, path)
        ensure_not_collected(any_store, "c")
    ensure_not_collected(any_store, "a")
    assert list(any_store.list_keys("gc")) == []


def test_lock_with_heartbeat_excludes_other_processes(any_store: ObjectStore, quick: None) -> None:
    done = threading.Event()

    def remove() -> None:
        with hold_gc_lock(any_store, ["a"], SOON) as keep_on:
            while not done.is_set():
                keep_on()
                time.sleep(0.01)

    thread = threading.Thread(target=remove)
    thread.start()
    try:
        while not any_store.exists("gc/removing.json"):
            time.sleep(0.01)
        with (
            pytest.raises(ConflictError, match="Another `icanvas gc`"),
            hold_gc_lock(any_store, ["b"], timedelta(minutes=1)),
        ):
            pass
        with pytest.raises(ConflictError, match="a is being deleted"):
            ensure_not_collected(any_store, "a")
    finally:
        done.set()
        thread.join()
    ensure_not_collected(any_store, "a")


def test_waiting_process_gets_released_lock(store: LocalStore, quick: None) -> None:
    other = hold_gc_lock(store, ["a"], SOON)
    other.__enter__()
    threading.Timer(0.3, lambda: other.__exit__(None, None, None)).start()
    with hold_gc_lock(store, ["b"], timedelta(minutes=1)):
        ensure_not_collected(store, "a")
        with pytest.raises(ConflictError):
            ensure_not_collected(store, "b")


def test_lock_without_heartbeat_is_taken_over(any_store: ObjectStore, quick: None) -> None:
    with hold_gc_lock(any_store, ["a"], SOON) as silent:
        time.sleep(0.1)
        start = time.monotonic()
        with hold_gc_lock(any_store, ["b"], SOON) as keep_on:
            assert time.monotonic() - start >= SOON.total_seconds()
            ensure_not_collected(any_store, "a")
            # The previous owner wakes up.
            with pytest.raises(ConflictError):
                silent()
            time.sleep(0.1)
            keep_on()
            with pytest.raises(ConflictError):
                ensure_not_collected(any_store, "b")
        with hold_gc_lock(any_store, ["c"], SOON):
            pass
    assert list(any_store.list_keys("gc")) == []


def test_previous_owner_does_not_release_lock_of_next_one(store: LocalStore, quick: None) -> None:
    sleeper = hold_gc_lock(store, ["a"], SOON)
    sleeper.__enter__()
    with hold_gc_lock(store, ["b"], SOON):
        sleeper.__exit__(None, None, None)
        with pytest.raises(ConflictError):
            ensure_not_collected(store, "b")
