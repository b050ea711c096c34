"""Pair sets and runs as a store holds them, without pictures."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

from storage import LocalStore, ObjectStore, keys
from storage.gc import take_inventory
from storage.gc_policy import Removable, Rules, plan_removal
from storage.pair_sets import CurrentPairs, is_published, read_current, swap_current
from storage.pins import check_kept, claim
from storage.promotions import Promoted, Promotion, export_files, read_promoted, swap_promoted
from storage.runs import Run

SHARDS = 3


def put_set(store: ObjectStore, name: str, published: bool = True, dataset: str = "demo") -> None:
    """Make a pair set as extraction does: what is there is not made again."""
    claim(store, dataset, name, {"name": name})
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


def use_set(store: ObjectStore, name: str, dataset: str = "demo") -> None:
    before = read_current(store, dataset)
    swap_current(store, dataset, CurrentPairs(fingerprint=name, source="/x"), before)
    check_kept(store, dataset, name)


def begin_run(store: ObjectStore, run: str, pairs: str, dataset: str = "demo") -> Run:
    begun = Run(store, dataset, run)
    begun.put("recipe.json", b'{"pairs": "%s", "recipe": {}}' % pairs.encode())
    check_kept(store, dataset, pairs)
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


def put_card(store: ObjectStore, promotion: Promotion, dataset: str = "demo") -> None:
    """Write a promotion's files, the card last."""
    for key in export_files(dataset, promotion):
        store.put(key, b"1")
    store.put(keys.export_card(dataset, promotion.export), b"{}")


def promote(
    store: ObjectStore, run: str = "run", epoch: int = 1, dataset: str = "demo"
) -> Promoted:
    """Put a checkpoint into service as far as the store knows of it."""
    chosen = make_promotion(run, epoch)
    put_card(store, chosen, dataset)
    return swap_promoted(store, dataset, chosen, read_promoted(store, dataset))


def assert_marks_hold(store: ObjectStore, name: str, dataset: str = "demo") -> None:
    """What is published is whole, and where a shard counts as done it is there."""
    folder = keys.pairs_folder(dataset, name)
    there = set(store.list(folder))
    parts = [shard for shard in range(SHARDS) if f"{folder}/{keys.part_name(shard)}" in there]
    for shard in parts:
        assert f"{folder}/{keys.shard_name(shard, 'train')}" in there
    if is_published(store, dataset, name):
        assert len(parts) == SHARDS
        assert {f"{folder}/settings.json", f"{folder}/report.html"} <= there


def make_old(store: LocalStore, prefix: str, hours: float) -> None:
    """Set back when everything below a folder was written."""
    then = time.time() - hours * 3600
    for key in store.list(prefix):
        os.utime(store.location(key), (then, then))


def plan(store: ObjectStore, rules: Rules, dataset: str | None = None) -> list[Removable]:
    return plan_removal(take_inventory(store, dataset), rules)


def all_keys(store: ObjectStore) -> set[str]:
    return {key for root in ("datasets", "models", "gc") for key in store.list(root)}


class _Watched:
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


def watched(store: ObjectStore, on_call: Callable[[str], None]) -> ObjectStore:
    """Return the store, with something told the name of each call before it is done."""
    return cast(ObjectStore, _Watched(store, on_call))


def meddled(store: ObjectStore, moment: int, meddle: Callable[[], None]) -> ObjectStore:
    """Return the store, with something else done before one of the calls, counted from 0."""
    calls = count()
    return watched(store, lambda _: meddle() if next(calls) == moment else None)
