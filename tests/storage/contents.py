"""Pair sets and runs as a store holds them, without pictures."""

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
    """Make a pair set as extraction does: what is there is not made again."""
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
    before = read_current(store, dataset)
    swap_current(store, dataset, CurrentPairs(fingerprint=name, source="/x"), before)
    ensure_pinned(store, dataset, name)


def start_run(store: ObjectStore, run: str, pairs: str, dataset: str = "demo") -> Run:
    begun = Run(store, dataset, run)
    begun.put("recipe.json", b'{"pairs": "%s", "recipe": {}}' % pairs.encode())
    ensure_pinned(store, dataset, pairs)
    return begun


def make_promotion(run: str = "run", epoch: int = 1) -> Promotion:
    """Return a promotion of files of which only the mark is there; see ``promote``."""
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
    """Write a promotion's files, the card last."""
    for key in export_files(dataset, promotion):
        store.put(key, b"1")
    store.put(keys.export_card(dataset, promotion.export), b"{}")


def promote_checkpoint(
    store: ObjectStore, run: str = "run", epoch: int = 1, dataset: str = "demo"
) -> Promoted:
    """Put a checkpoint into service as far as the store knows of it."""
    chosen = make_promotion(run, epoch)
    put_export_files(store, chosen, dataset)
    return swap_promoted(store, dataset, chosen, read_promoted(store, dataset))


def assert_markers_consistent(store: ObjectStore, name: str, dataset: str = "demo") -> None:
    """What is published is whole, and where a shard counts as done it is there."""
    folder = keys.pairs_folder(dataset, name)
    there = set(store.list_keys(folder))
    parts = [shard for shard in range(SHARDS) if f"{folder}/{keys.part_name(shard)}" in there]
    for shard in parts:
        assert f"{folder}/{keys.shard_name(shard, 'train')}" in there
    if is_published(store, dataset, name):
        assert len(parts) == SHARDS
        assert {f"{folder}/settings.json", f"{folder}/report.html"} <= there


def set_age(store: LocalStore, prefix: str, hours: float) -> None:
    """Set back when everything below a folder was written."""
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
    """A store that tells of each call before it is done."""

    def __init__(self, store: ObjectStore, on_call: Callable[[str], None]) -> None:
        self._store = store
        self._on_call = on_call

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def call(*arguments: Any) -> Any:
            self._on_call(name)
            return found(*arguments)

        return call


def observe_calls(store: ObjectStore, on_call: Callable[[str], None]) -> ObjectStore:
    """Return the store, with something told the name of each call before it is done."""
    return cast(ObjectStore, _ObservedStore(store, on_call))


def interfere_before_call(
    store: ObjectStore, call_number: int, interfere: Callable[[], None]
) -> ObjectStore:
    """Return the store, with something else done before one of the calls, counted from 0."""
    calls = count()
    return observe_calls(store, lambda _: interfere() if next(calls) == call_number else None)
