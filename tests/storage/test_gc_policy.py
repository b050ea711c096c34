"""Property tests of the policy, on arbitrary inventories."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from storage.gc_policy import (
    CheckpointRetention,
    ExportFolder,
    GcPolicy,
    Inventory,
    StoredCheckpoint,
    StoredPairSet,
    retained_checkpoints,
    select_candidates,
)
from storage.object_info import MultipartUpload, ObjectInfo
from storage.runs import CheckpointRecord

NOW = datetime(2026, 3, 1, tzinfo=UTC)
# In hours. Negative ones are in the future: another machine's clock was wrong.
AGES = st.sampled_from([-48, 0, 1, 23, 24, 24 * 7 - 1, 24 * 7, 24 * 30])
HOURS = st.sampled_from([0, 1, 24 * 7])


def make_object(key: str, hours: int) -> ObjectInfo:
    return ObjectInfo(key, 10, NOW - timedelta(hours=hours))


@st.composite
def stored_pair_sets(draw: st.DrawFn) -> StoredPairSet:
    dataset, name = draw(st.sampled_from("ab")), draw(st.sampled_from("123456"))
    path = f"datasets/{dataset}/pairs/{name}"
    published = draw(st.booleans())
    files = ["settings.json", "parts/00000.parquet", "train-00000.tar"]
    files += ["manifest.parquet"] * published
    entries = tuple(make_object(f"{path}/{file}", draw(AGES)) for file in files)
    return StoredPairSet(dataset, name, path, published, entries)


@st.composite
def stored_checkpoints(draw: st.DrawFn) -> StoredCheckpoint:
    dataset, run = draw(st.sampled_from("ab")), draw(st.sampled_from("rs"))
    step, batches = draw(st.integers(1, 12)), draw(st.sampled_from([0, 0, 3]))
    # A different value for every epoch, in another order than that of the epochs.
    val_l1 = draw(st.sampled_from([step * 7 % 13, step * 7 % 13, math.nan]))
    record = CheckpointRecord(
        epoch=step,
        step=step,
        batches=batches,
        sha256="",
        metrics={} if batches or draw(st.booleans()) else {"val_l1": val_l1},
    )
    path = f"models/{dataset}/{run}/{record.name}"
    files = draw(st.sampled_from([("json", "pt"), ("json", "pt"), ("json",), ("pt",)]))
    readable = "json" in files and draw(st.sampled_from([True, True, False]))
    entries = tuple(make_object(f"{path[:-2]}{ending}", draw(AGES)) for ending in files)
    return StoredCheckpoint(dataset, run, path, record if readable else None, entries)


@st.composite
def uploads(draw: st.DrawFn) -> MultipartUpload:
    name = f"id{draw(st.integers(0, 5))}"
    return MultipartUpload(
        "datasets/a/pairs/1/train-00000.tar", name, 5, make_object("", draw(AGES)).modified
    )


@st.composite
def export_folders(draw: st.DrawFn) -> ExportFolder:
    dataset, export = draw(st.sampled_from("ab")), draw(st.sampled_from(["e", "f"]))
    path = f"models/{dataset}/promoted/{export * 16}"
    files = draw(st.sampled_from([("card.json", "generator.onnx"), ("generator.onnx",)]))
    entries = tuple(make_object(f"{path}/{file}", draw(AGES)) for file in files)
    return ExportFolder(dataset, path, entries)


retentions = st.builds(CheckpointRetention, st.integers(1, 3), st.integers(0, 2))


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    sets = draw(st.lists(stored_pair_sets(), unique_by=lambda stored: stored.path))
    checkpoints = draw(st.lists(stored_checkpoints(), unique_by=lambda stored: stored.path))
    started = draw(st.lists(uploads(), unique_by=lambda stored: stored.upload_id))
    exports = draw(st.lists(export_folders(), unique_by=lambda stored: stored.path))
    all_stored: list[StoredPairSet | StoredCheckpoint | ExportFolder] = [
        *sets,
        *checkpoints,
        *exports,
    ]
    paths = [stored.path for stored in all_stored]
    referenced = draw(st.sets(st.sampled_from([*paths, "datasets/a/pairs/gone"])))
    runs = {(stored.dataset, stored.run) for stored in checkpoints}
    retention = {run: draw(retentions) for run in sorted(runs) if draw(st.booleans())}
    return Inventory(
        NOW,
        tuple(sets),
        tuple(checkpoints),
        tuple(exports),
        tuple(started),
        retention,
        frozenset(referenced),
    )


policies = st.builds(
    GcPolicy,
    keep_pairs=st.integers(0, 3),
    keep_last=st.none() | st.integers(1, 3),
    keep_best=st.none() | st.integers(0, 2),
    older_than=HOURS.map(lambda hours: timedelta(hours=hours)),
)


def last_modified(stored: StoredPairSet | StoredCheckpoint | ExportFolder) -> datetime:
    return max(entry.modified for entry in stored.objects)


def is_retained_pair_set(inventory: Inventory, pair_set: StoredPairSet, policy: GcPolicy) -> bool:
    newer = [
        other
        for other in inventory.pair_sets
        if other.dataset == pair_set.dataset
        and other.published
        and other.path not in inventory.referenced
        and (last_modified(other), other.fingerprint)
        > (last_modified(pair_set), pair_set.fingerprint)
    ]
    return pair_set.published and len(newer) < policy.keep_pairs


def progress(record: CheckpointRecord) -> tuple[int, bool]:
    return record.step, not record.batches


def is_retained_checkpoint(
    inventory: Inventory, checkpoint: StoredCheckpoint, policy: GcPolicy
) -> bool:
    if len(checkpoint.objects) < 2:
        return False
    if checkpoint.record is None:
        return True
    run = [
        other.record
        for other in inventory.checkpoints
        if (other.dataset, other.run) == (checkpoint.dataset, checkpoint.run)
        and other.record is not None
        and len(other.objects) == 2
    ]
    run_retention = inventory.retention.get(
        (checkpoint.dataset, checkpoint.run), CheckpointRetention(3, 1)
    )
    last = run_retention.last if policy.keep_last is None else policy.keep_last
    best = run_retention.best if policy.keep_best is None else policy.keep_best
    values = sorted(r.metrics["val_l1"] for r in run if r.metrics.get("val_l1", math.nan) >= 0)
    later = [
        record for record in run if not record.batches and record.epoch > checkpoint.record.epoch
    ]
    return (
        progress(checkpoint.record) == max(map(progress, run))
        or checkpoint.record.metrics.get("val_l1", math.nan) in values[:best]
        or (not checkpoint.record.batches and len(later) < last)
    )


@given(inventories(), policies)
def test_candidates_are_exactly_what_is_not_referenced_retained_or_recent(
    inventory: Inventory, policy: GcPolicy
) -> None:
    candidates = select_candidates(inventory, policy)
    paths = {item.path for item in candidates}
    assert len(paths) == len(candidates)
    assert not paths & inventory.referenced
    for pair_set in inventory.pair_sets:
        is_retained = (
            pair_set.path in inventory.referenced
            or NOW - last_modified(pair_set) < policy.older_than
            or is_retained_pair_set(inventory, pair_set, policy)
        )
        assert (pair_set.path in paths) != is_retained
    for checkpoint in inventory.checkpoints:
        is_retained = (
            checkpoint.path in inventory.referenced
            or NOW - last_modified(checkpoint) < policy.older_than
            or is_retained_checkpoint(inventory, checkpoint, policy)
        )
        assert (checkpoint.path in paths) != is_retained
    for export in inventory.exports:
        is_retained = (
            export.path in inventory.referenced or NOW - last_modified(export) < policy.older_than
        )
        assert (export.path in paths) != is_retained
    for upload in inventory.uploads:
        old = NOW - upload.initiated >= max(policy.older_than, timedelta(days=1))
        assert (upload.upload_id in paths) == old


def test_interim_checkpoint_is_superseded_by_epoch_end_of_same_step() -> None:
    def stored(step: int, batches: int) -> StoredCheckpoint:
        record = CheckpointRecord(epoch=1, step=step, batches=batches, sha256="", metrics={})
        path = f"models/a/r/{record.name}"
        pair = tuple(make_object(f"{path[:-2]}{ending}", 0) for ending in ("json", "pt"))
        return StoredCheckpoint("a", "r", path, record, pair)

    end, same, later = stored(12, 0), stored(12, 4), stored(13, 1)
    assert set(retained_checkpoints([end, same], CheckpointRetention())) == {end.path}
    assert set(retained_checkpoints([same], CheckpointRetention())) == {same.path}
    assert set(retained_checkpoints([end, same, later], CheckpointRetention())) == {
        end.path,
        later.path,
    }


@given(inventories(), retentions, st.data())
def test_retention_of_a_subset_includes_retention_of_all(
    inventory: Inventory, retention: CheckpointRetention, data: st.DataObject
) -> None:
    """So a run may prune while it trains, and prune files that are not uploaded yet."""
    run = [
        checkpoint
        for checkpoint in inventory.checkpoints
        if checkpoint.run == "r" and checkpoint.dataset == "a"
    ]
    subset = [checkpoint for checkpoint in run if data.draw(st.booleans())]
    deleted = {checkpoint.path for checkpoint in subset if checkpoint.is_complete} - set(
        retained_checkpoints(subset, retention)
    )
    assert not deleted & set(retained_checkpoints(run, retention))


@given(inventories(), policies)
def test_selection_is_idempotent(inventory: Inventory, policy: GcPolicy) -> None:
    deleted = {item.path for item in select_candidates(inventory, policy)}
    remaining = replace(
        inventory,
        pair_sets=tuple(stored for stored in inventory.pair_sets if stored.path not in deleted),
        checkpoints=tuple(stored for stored in inventory.checkpoints if stored.path not in deleted),
        exports=tuple(stored for stored in inventory.exports if stored.path not in deleted),
        uploads=tuple(stored for stored in inventory.uploads if stored.upload_id not in deleted),
    )
    assert select_candidates(remaining, policy) == []


def test_completeness_markers_are_deleted_first() -> None:
    folder, run = "datasets/a/pairs/1", "models/a/r/checkpoints"
    export_path = "models/a/promoted/e"
    files = ["a.html", "manifest.parquet", "parts/0.parquet", "parts/1.parquet", "val-0.tar"]
    stored = StoredPairSet(
        "a", "1", folder, True, tuple(make_object(f"{folder}/{f}", 999) for f in files)
    )
    checkpoints = tuple(
        StoredCheckpoint(
            "a",
            "r",
            f"{run}/epoch-000{epoch}.pt",
            CheckpointRecord(epoch=epoch, step=epoch, sha256="", metrics={}),
            tuple(
                make_object(f"{run}/epoch-000{epoch}.{ending}", 999) for ending in ("pt", "json")
            ),
        )
        for epoch in (1, 2)
    )
    parts = ("generator.onnx", "card.json", "examples/0-drawing.png")
    export = ExportFolder(
        "a", export_path, tuple(make_object(f"{export_path}/{part}", 999) for part in parts)
    )
    inventory = Inventory(NOW, (stored,), checkpoints, (export,), (), {}, frozenset())
    candidates = select_candidates(inventory, GcPolicy(keep_pairs=0, keep_last=1))
    assert [item.size for item in candidates] == [50, 20, 30]
    assert [key.rpartition("/")[2] for item in candidates for key in item.keys] == [
        *("manifest.parquet", "0.parquet", "1.parquet", "a.html", "val-0.tar"),
        *("epoch-0001.json", "epoch-0001.pt"),
        *("card.json", "0-drawing.png", "generator.onnx"),
    ]
