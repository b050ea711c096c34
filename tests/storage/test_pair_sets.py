import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from config.errors import ConflictError, IntegrityError, NotFoundError
from storage import LocalStore, ObjectStore, keys
from storage.json_objects import write_json
from storage.manifest import ManifestRow, rows_to_parquet
from storage.pair_reader import open_pairs
from storage.pair_sets import (
    CurrentPairs,
    is_published,
    latest_revision,
    list_pair_sets,
    list_prepared_datasets,
    read_current,
    read_manifest,
    swap_current,
    use_pair_set,
)
from storage.pins import pin
from storage.raw_sets import Origin

OLD, NEW, CUT = "0" * 12, "1" * 12, "2" * 12


def test_swap_current_moves_pointer(store: LocalStore) -> None:
    assert read_current(store, "demo") is None
    for target in (
        CurrentPairs(fingerprint="a", source="/x"),
        CurrentPairs(fingerprint="b", source="/x"),
    ):
        swap_current(store, "demo", target, read_current(store, "demo"))
        swap_current(store, "demo", target)
        assert read_current(store, "demo") == target


def test_swap_current_leaves_concurrently_moved_pointer(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap = store.compare_and_swap

    def other_is_first(key: str, data: bytes, expected: bytes | None) -> None:
        store.put(key, CurrentPairs(fingerprint="theirs", source="/x").model_dump_json().encode())
        swap(key, data, expected)

    monkeypatch.setattr(store, "compare_and_swap", other_is_first)
    with pytest.raises(ConflictError):
        swap_current(store, "demo", CurrentPairs(fingerprint="ours", source="/x"))
    assert read_current(store, "demo") == CurrentPairs(fingerprint="theirs", source="/x")


@pytest.mark.parametrize("call", range(1, 4))
def test_concurrent_swap_to_same_pair_set_is_no_conflict(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Whichever of our calls the other process precedes."""
    target = CurrentPairs(fingerprint="same", source="/x")
    put, calls = store.put, count(1)

    def other_first(method: Callable[..., Any]) -> Callable[..., Any]:
        def interfere(*arguments: Any) -> Any:
            if next(calls) == call:
                put(keys.current_pairs("demo"), target.model_dump_json().encode())
            return method(*arguments)

        return interfere

    for name in ("get", "compare_and_swap"):
        monkeypatch.setattr(store, name, other_first(getattr(store, name)))
    swap_current(store, "demo", target)
    assert read_current(store, "demo") == target
    assert next(calls) > call, "the other process never interfered"


def test_one_of_two_concurrent_swaps_wins(any_store: ObjectStore) -> None:
    ready = threading.Barrier(2)
    previous = None

    def move(name: str) -> str | None:
        ready.wait()
        try:
            swap_current(any_store, "demo", CurrentPairs(fingerprint=name, source="/x"), previous)
            return name
        except ConflictError:
            return None

    with ThreadPoolExecutor(2) as pool:
        for number in range(25):
            moved = list(pool.map(move, [f"{number}a", f"{number}b"]))
            assert moved.count(None) == 1, "not exactly one swap won"
            previous = read_current(any_store, "demo")
            assert previous is not None and previous.fingerprint in moved


def test_swap_current_with_outdated_previous_conflicts(store: LocalStore) -> None:
    old, new, target = (CurrentPairs(fingerprint=name, source="/x") for name in ("a", "b", "c"))
    swap_current(store, "demo", old)
    swap_current(store, "demo", new, old)
    with pytest.raises(ConflictError, match="brought into use while c was made"):
        swap_current(store, "demo", target, old)
    assert read_current(store, "demo") == new


def test_latest_revision_is_found_by_settings(store: LocalStore) -> None:
    settings: dict[str, object] = {"raw": "x", "validation": ("a", "b")}
    assert latest_revision(store, "demo", settings) is None
    revisions: dict[str, dict[str, object]] = {
        "r0": settings,
        "r2": {**settings, "revision": 2},
        "other": {"raw": "y"},
    }
    for name, revision_settings in revisions.items():
        pin(store, "demo", name, revision_settings)
        assert latest_revision(store, "demo", settings) is None, "it is not published"
    for name, newest in {"other": None, "r0": 0, "r2": 2}.items():
        store.put(keys.manifest("demo", name), b"")
        assert latest_revision(store, "demo", settings) == newest
        assert latest_revision(store, "demo", {**settings, "revision": 7}) == newest
    store.put(keys.pair_settings("demo", "r2"), b"{")
    assert latest_revision(store, "demo", settings) == 0


def test_list_prepared_datasets_is_sorted(store: LocalStore) -> None:
    assert list_prepared_datasets(store) == []
    for name in ("b", "a"):
        swap_current(store, name, CurrentPairs(fingerprint="x", source="/x"))
    assert list_prepared_datasets(store) == ["a", "b"]


def test_corrupt_pointer_raises_integrity_error(store: LocalStore) -> None:
    store.put("datasets/demo/pairs/current.json", b"{}")
    with pytest.raises(IntegrityError, match=r"current\.json"):
        read_current(store, "demo")


def test_reading_unpublished_pair_set_raises_not_found(store: LocalStore) -> None:
    assert not is_published(store, "demo", "abc")
    with pytest.raises(NotFoundError, match="icanvas prepare demo"):
        read_manifest(store, "demo", "abc")


def test_pair_is_read_from_pair_shard_or_raw_shard(store: LocalStore) -> None:
    row = ManifestRow("0", "a.jpg", 3, "pair", split="val", offset=2, size=3)
    store.put("datasets/demo/pairs/own/val-00003.tar", b"..own..")
    store.put("datasets/demo/raw/files/00003.tar", b"..raw..")
    for name, settings in {
        "own": {"raw": "files"},
        "there": {"raw": "files", "stored": "raw", "drawing": "right"},
    }.items():
        store.put(keys.pair_settings("demo", name), json.dumps(settings).encode())
    in_pair_shard, in_raw_shard = (
        open_pairs(store, "demo", "own"),
        open_pairs(store, "demo", "there"),
    )
    assert (in_pair_shard.read(row), in_pair_shard.drawing_side) == (b"own", "left")
    assert (in_raw_shard.read(row), in_raw_shard.drawing_side) == (b"raw", "right")
    # Also before the set is published.
    assert open_pairs(store, "demo", "new", {"raw": "files"}).key(row).endswith("val-00003.tar")


def test_stream_opens_each_shard_once(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("datasets/demo/pairs/own/train-00000.tar", b".ab.cd")
    store.put("datasets/demo/pairs/own/val-00000.tar", b"ef")
    rows = [
        ManifestRow(f"{shard}", "a.png", 0, "pair", split=split, offset=offset, size=2)
        for shard, (split, offset) in enumerate([("train", 1), ("train", 4), ("val", 0)])
    ]
    opened = []
    real = store.local_copy

    def count(key: str) -> AbstractContextManager[Path]:
        opened.append(key)
        return real(key)

    monkeypatch.setattr(store, "local_copy", count)
    stored = open_pairs(store, "demo", "own", {"raw": "files"})
    assert [data for _, data in stored.stream(rows)] == [b"ab", b"cd", b"ef"]
    assert len(opened) == 2
    rows[0].shard = 7
    with pytest.raises(NotFoundError, match="train-00007"):
        list(stored.stream(rows))


@pytest.mark.parametrize("content", [b"..fil", b"..fire"])
def test_stream_rejects_corrupt_published_file(store: LocalStore, content: bytes) -> None:
    digest = hashlib.sha256(b"file").hexdigest()
    row = ManifestRow("0", "a\n.jpg", 0, "pair", split="val", offset=2, size=4, sha256=digest)
    settings = {"raw": "files", "stored": "raw", "drawing": "left"}
    stored = open_pairs(store, "demo", "pairs", settings)
    store.put("datasets/demo/raw/files/00000.tar", b"..file")
    assert list(stored.stream([row])) == [(row, b"file")]
    store.put("datasets/demo/raw/files/00000.tar", content)
    with pytest.raises(IntegrityError, match=r"00000\.tar is corrupt at 'a\\n\.jpg'"):
        list(stored.stream([row]))


@pytest.fixture
def two_pair_sets(store: LocalStore) -> LocalStore:
    """A store with two published sets, of which the newer is in use, and an unfinished one."""
    for name, splits in ((OLD, ("train", "val")), (NEW, ("train",)), (CUT, ())):
        pin(store, "some", name, {"raw": "r", "edges": {"threshold": 0.5}})
        rows = [
            ManifestRow(id=f"{n:08d}", source_path=f"{n}.png", shard=0, status="pair", split=split)
            for n, split in enumerate(splits)
        ]
        if rows:
            store.put(keys.manifest("some", name), rows_to_parquet(rows))
    origin = Origin(source="/photos", identity="", read_from="/photos", acquired="2026-01-01")
    write_json(store, keys.raw_origin("some", "r"), origin)
    swap_current(store, "some", CurrentPairs(fingerprint=NEW, source="/photos", train=1, val=0))
    return store


def test_use_pair_set_switches_back_and_forth(two_pair_sets: LocalStore) -> None:
    assert {
        pair_set.fingerprint: pair_set.in_use for pair_set in list_pair_sets(two_pair_sets, "some")
    } == {
        NEW: True,
        OLD: False,
    }
    target = use_pair_set(two_pair_sets, "some", OLD)
    assert target == CurrentPairs(fingerprint=OLD, source="/photos", train=1, val=1)
    assert read_current(two_pair_sets, "some") == target
    assert use_pair_set(two_pair_sets, "some", OLD) == target
    assert use_pair_set(two_pair_sets, "some", NEW).fingerprint == NEW


@pytest.mark.parametrize("name", [CUT, "f" * 12])
def test_use_pair_set_rejects_incomplete_or_unknown_set(
    two_pair_sets: LocalStore, name: str
) -> None:
    with pytest.raises(NotFoundError, match=rf"no complete pair set '{name}'.*{OLD}"):
        use_pair_set(two_pair_sets, "some", name)
    current = read_current(two_pair_sets, "some")
    assert current is not None and current.fingerprint == NEW
