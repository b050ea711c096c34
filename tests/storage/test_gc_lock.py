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


def test_what_is_announced_is_refused_until_the_end(any_store: ObjectStore) -> None:
    ensure_not_collected(any_store, "a")
    with hold_gc_lock(any_store, ["a", "b"], SOON):
        for place in ("a", "b"):
            with pytest.raises(ConflictError, match=f"{place} is being removed by `icanvas gc`"):
                ensure_not_collected(any_store, place)
        ensure_not_collected(any_store, "c")
    ensure_not_collected(any_store, "a")
    assert list(any_store.list_keys("gc")) == []


def test_one_process_removes_at_a_time(any_store: ObjectStore, quick: None) -> None:
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
        with pytest.raises(ConflictError, match="a is being removed"):
            ensure_not_collected(any_store, "a")
    finally:
        done.set()
        thread.join()
    ensure_not_collected(any_store, "a")


def test_whoever_waits_for_one_that_ends_is_next(store: LocalStore, quick: None) -> None:
    first = hold_gc_lock(store, ["a"], SOON)
    first.__enter__()
    threading.Timer(0.3, lambda: first.__exit__(None, None, None)).start()
    with hold_gc_lock(store, ["b"], timedelta(minutes=1)):
        ensure_not_collected(store, "a")
        with pytest.raises(ConflictError):
            ensure_not_collected(store, "b")


def test_the_place_of_a_silent_process_is_taken(any_store: ObjectStore, quick: None) -> None:
    with hold_gc_lock(any_store, ["a"], SOON) as silent:
        time.sleep(0.1)
        begun = time.monotonic()
        with hold_gc_lock(any_store, ["b"], SOON) as keep_on:
            assert time.monotonic() - begun >= SOON.total_seconds()
            ensure_not_collected(any_store, "a")
            # It was only asleep.
            with pytest.raises(ConflictError):
                silent()
            time.sleep(0.1)
            keep_on()
            with pytest.raises(ConflictError):
                ensure_not_collected(any_store, "b")
        with hold_gc_lock(any_store, ["c"], SOON):
            pass
    assert list(any_store.list_keys("gc")) == []


def test_the_sleeper_leaves_the_announcement_of_its_heir(store: LocalStore, quick: None) -> None:
    sleeper = hold_gc_lock(store, ["a"], SOON)
    sleeper.__enter__()
    with hold_gc_lock(store, ["b"], SOON):
        sleeper.__exit__(None, None, None)
        with pytest.raises(ConflictError):
            ensure_not_collected(store, "b")
