import json

import pytest

from errors import ConflictError, IntegrityError, NotFoundError
from storage import LocalStore, keys
from storage.manifest import Row
from storage.pairsets import (
    CurrentPairs,
    is_published,
    locate_pairs,
    prepared_names,
    read_current,
    read_manifest,
    swap_current,
)


def test_the_pointer_moves(store: LocalStore) -> None:
    assert read_current(store, "demo") is None
    for chosen in (
        CurrentPairs(fingerprint="a", source="/x"),
        CurrentPairs(fingerprint="b", source="/x"),
    ):
        swap_current(store, "demo", chosen)
        swap_current(store, "demo", chosen)
        assert read_current(store, "demo") == chosen


def test_a_pointer_that_moved_meanwhile_is_left_alone(
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


def test_a_twin_that_was_first_is_no_conflict(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = CurrentPairs(fingerprint="same", source="/x")
    swap = store.compare_and_swap

    def twin_is_first(key: str, data: bytes, expected: bytes | None) -> None:
        store.put(key, data)
        swap(key, data, expected)

    monkeypatch.setattr(store, "compare_and_swap", twin_is_first)
    swap_current(store, "demo", chosen)
    assert read_current(store, "demo") == chosen


def test_prepared_sets_are_listed(store: LocalStore) -> None:
    assert prepared_names(store) == []
    for name in ("b", "a"):
        swap_current(store, name, CurrentPairs(fingerprint="x", source="/x"))
    assert prepared_names(store) == ["a", "b"]


def test_a_damaged_pointer_is_told(store: LocalStore) -> None:
    store.put("datasets/demo/pairs/current.json", b"{}")
    with pytest.raises(IntegrityError, match=r"current\.json"):
        read_current(store, "demo")


def test_what_is_not_published_is_told(store: LocalStore) -> None:
    assert not is_published(store, "demo", "abc")
    with pytest.raises(NotFoundError, match="icanvas prepare demo"):
        read_manifest(store, "demo", "abc")


def test_a_pair_is_found_in_its_own_shard_or_where_it_was_acquired(store: LocalStore) -> None:
    row = Row("0", "a.jpg", 3, "pair", split="val", offset=2, size=3)
    store.put("datasets/demo/pairs/own/val-00003.tar", b"..own..")
    store.put("datasets/demo/raw/files/00003.tar", b"..raw..")
    for name, settings in {
        "own": {"raw": "files"},
        "there": {"raw": "files", "stored": "raw", "drawing": "right"},
    }.items():
        store.put(keys.pair_settings("demo", name), json.dumps(settings).encode())
    own, there = locate_pairs(store, "demo", "own"), locate_pairs(store, "demo", "there")
    assert (own.read(row), own.drawing) == (b"own", "left")
    assert (there.read(row), there.drawing) == (b"raw", "right")
    # Before they are published.
    assert locate_pairs(store, "demo", "new", {"raw": "files"}).key(row).endswith("val-00003.tar")
