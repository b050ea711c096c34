"""Test data: pair sets and runs as a store holds them, without images; observed stores."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

from storage import LocalStore, ObjectStore, keys
from storage.gc import scan
from storage.gc_policy import GcCandidate, GcPolicy, select_candidates
from storage.pair_sets import CurrentPairs, is_published, read_current, swap_current
from storage.pins import ensure_pinned, pin
from storage.promotions import Promoted, Promotion, export_files, read_promoted, swap_promoted
from storage.runs import Run

SHARDS = 3


def put_pair_set(
    store: ObjectStore, name: str, published: bool = True, dataset: str = "demo"
) -> None:
    """Create a pair set like extraction does: existing shards are skipped."""
    pin(store, dataset, name, {"name": name})
    folder = keys.pairs_folder(dataset, name)
    if is_published(store, dataset, name):
        return
    for shard in range(SHARDS):
        if not store.exists(f"{folder}/{keys.part_name(shard)}"):
            store.put(f"{folder}/{keys.shard_name(shard, 'train')}", bytes(1000))
            store.put(f"{folder}/{keys.part_name(shard)}", b"rows")
    if published:
        store.put(f"{folder}/report.html", b"report")
        store.put(keys.manifest(dataset, name), b"manifest")


def point_at_pair_set(store: ObjectStore, name: str, dataset: str = "demo") -> None:
    previous = read_current(store, dataset)
    swap_current(store, dataset, CurrentPairs(fingerprint=name, source="/x"), previous)
    ensure_pinned(store, dataset, name)


def start_run(store: ObjectStore, run: str, pairs: str, dataset: str = "demo") -> Run:
    training_run = Run(store, dataset, run)
    training_run.put("recipe.json", b'{"pairs": "%s", "recipe": {}}' % pairs.encode())
    ensure_pinned(store, dataset, pairs)
    return training_run


def make_promotion(run: str = "run", epoch: int = 1) -> Promotion:
    """Return a promotion. Its exported files do not exist yet; see ``put_export_files``."""
    return Promotion(
        title="Demo",
        run=run,
        epoch=epoch,
        sha256="0" * 64,
        export=f"{epoch:016x}",
        weights="",
        network="",
        examples=0,
        at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=epoch),
    )


def put_export_files(store: ObjectStore, promotion: Promotion, dataset: str = "demo") -> None:
    """Write a promotion's exported files, the card last."""
    for key in export_files(dataset, promotion):
        store.put(key, b"1")
    store.put(keys.export_card(dataset, promotion.export), b"{}")


def promote_checkpoint(
    store: ObjectStore, run: str = "run", epoch: int = 1, dataset: str = "demo"
) -> Promoted:
    """Write a checkpoint's exported files and point ``promoted.json`` at it."""
    promotion = make_promotion(run, epoch)
    put_export_files(store, promotion, dataset)
    return swap_promoted(store, dataset, promotion, read_promoted(store, dataset))


def assert_markers_consistent(store: ObjectStore, name: str, dataset: str = "demo") -> None:
    """Assert that a published set is complete, and that the shard of every part exists."""
    folder = keys.pairs_folder(dataset, name)
    existing = set(store.list_keys(folder))
    parts = [shard for shard in range(SHARDS) if f"{folder}/{keys.part_name(shard)}" in existing]
    for shard in parts:
        assert f"{folder}/{keys.shard_name(shard, 'train')}" in existing
    if is_published(store, dataset, name):
        assert len(parts) == SHARDS
        assert {f"{folder}/settings.json", f"{folder}/report.html"} <= existing


def set_age(store: LocalStore, prefix: str, hours: float) -> None:
    """Set the modification time of every file below a folder to some hours ago."""
    then = time.time() - hours * 3600
    for key in store.list_keys(prefix):
        os.utime(store.location(key), (then, then))


def list_candidates(
    store: ObjectStore, policy: GcPolicy, dataset: str | None = None
) -> list[GcCandidate]:
    return select_candidates(scan(store, dataset), policy)


def all_keys(store: ObjectStore) -> set[str]:
    return {key for root in ("datasets", "models", "gc") for key in store.list_keys(root)}


class _ObservedStore:
    """A store that calls a function with the name of each method before it is called."""

    def __init__(self, store: ObjectStore, on_call: Callable[[str], None]) -> None:
        self._store = store
        self._on_call = on_call

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: Any) -> Any:
            self._on_call(name)
            return attribute(*arguments)

        return call


def observe_calls(store: ObjectStore, on_call: Callable[[str], None]) -> ObjectStore:
    """Return the store; ``on_call`` gets the name of each method before it is called."""
    return cast(ObjectStore, _ObservedStore(store, on_call))


def interfere_before_call(
    store: ObjectStore, call_number: int, interfere: Callable[[], None]
) -> ObjectStore:
    """Return the store; ``interfere`` is called once, before the given call, counted from 0."""
    calls = count()
    return observe_calls(store, lambda _: interfere() if next(calls) == call_number else None)
