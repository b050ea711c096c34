import threading
import time
from datetime import timedelta

import pytest

from config.errors import ConflictError
from storage import LocalStore, ObjectStore, gc_lock
from storage.gc_lock import announced, check_stays

SOON = timedelta(seconds=0.5)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc_lock, "_BEAT", 0.05)
    monkeypatch.setattr(gc_lock, "_LOOK", 0.1)


def test_what_is_announced_is_refused_until_the_end(any_store: ObjectStore) -> None:
    check_stays(any_store, "a")
    with announced(any_store, ["a", "b"], SOON):
        for place in ("a", "b"):
            with pytest.raises(ConflictError, match=f"{place} is being removed by `icanvas gc`"):
                check_stays(any_store, place)
        check_stays(any_store, "c")
    check_stays(any_store, "a")
    assert list(any_store.list("gc")) == []


def test_one_process_removes_at_a_time(any_store: ObjectStore, quick: None) -> None:
    done = threading.Event()

    def remove() -> None:
        with announced(any_store, ["a"], SOON) as keep_on:
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
            announced(any_store, ["b"], timedelta(minutes=1)),
        ):
            pass
        with pytest.raises(ConflictError, match="a is being removed"):
            check_stays(any_store, "a")
    finally:
        done.set()
        thread.join()
    check_stays(any_store, "a")


def test_whoever_waits_for_one_that_ends_is_next(store: LocalStore, quick: None) -> None:
    first = announced(store, ["a"], SOON)
    first.__enter__()
    threading.Timer(0.3, lambda: first.__exit__(None, None, None)).start()
    with announced(store, ["b"], timedelta(minutes=1)):
        check_stays(store, "a")
        with pytest.raises(ConflictError):
            check_stays(store, "b")


def test_the_place_of_a_silent_process_is_taken(any_store: ObjectStore, quick: None) -> None:
    with announced(any_store, ["a"], SOON) as silent:
        time.sleep(0.1)
        begun = time.monotonic()
        with announced(any_store, ["b"], SOON) as keep_on:
            assert time.monotonic() - begun >= SOON.total_seconds()
            check_stays(any_store, "a")
            # It was only asleep.
            with pytest.raises(ConflictError):
                silent()
            time.sleep(0.1)
            keep_on()
            with pytest.raises(ConflictError):
                check_stays(any_store, "b")
        with announced(any_store, ["c"], SOON):
            pass
    assert list(any_store.list("gc")) == []


def test_the_sleeper_leaves_the_announcement_of_its_heir(store: LocalStore, quick: None) -> None:
    sleeper = announced(store, ["a"], SOON)
    sleeper.__enter__()
    with announced(store, ["b"], SOON):
        sleeper.__exit__(None, None, None)
        with pytest.raises(ConflictError):
            check_stays(store, "b")
