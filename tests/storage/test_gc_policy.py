"""The rule alone: whatever a store holds, what is needed is never in the plan."""

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
# Some lie ahead: another machine's clock was wrong.
AGES = st.sampled_from([-48, 0, 1, 23, 24, 24 * 7 - 1, 24 * 7, 24 * 30])
HOURS = st.sampled_from([0, 1, 24 * 7])


def make_object(key: str, hours: int) -> ObjectInfo:
    return ObjectInfo(key, 10, NOW - timedelta(hours=hours))


@st.composite
def stored_pair_sets(draw: st.DrawFn) -> StoredPairSet:
    dataset, name = draw(st.sampled_from("ab")), draw(st.sampled_from("123456"))
    place = f"datasets/{dataset}/pairs/{name}"
    published = draw(st.booleans())
    files = ["settings.json", "parts/00000.parquet", "train-00000.tar"]
    files += ["manifest.parquet"] * published
    entries = tuple(make_object(f"{place}/{file}", draw(AGES)) for file in files)
    return StoredPairSet(dataset, name, place, published, entries)


@st.composite
def stored_checkpoints(draw: st.DrawFn) -> StoredCheckpoint:
    dataset, run = draw(st.sampled_from("ab")), draw(st.sampled_from("rs"))
    step, batches = draw(st.integers(1, 12)), draw(st.sampled_from([0, 0, 3]))
    # Another figure for every epoch, in another order than theirs.
    figure = draw(st.sampled_from([step * 7 % 13, step * 7 % 13, math.nan]))
    record = CheckpointRecord(
        epoch=step,
        step=step,
        batches=batches,
        sha256="",
        metrics={} if batches or draw(st.booleans()) else {"val_l1": figure},
    )
    place = f"models/{dataset}/{run}/{record.name}"
    files = draw(st.sampled_from([("json", "pt"), ("json", "pt"), ("json",), ("pt",)]))
    readable = "json" in files and draw(st.sampled_from([True, True, False]))
    entries = tuple(make_object(f"{place[:-2]}{ending}", draw(AGES)) for ending in files)
    return StoredCheckpoint(dataset, run, place, record if readable else None, entries)


@st.composite
def uploads(draw: st.DrawFn) -> MultipartUpload:
    name = f"id{draw(st.integers(0, 5))}"
    return MultipartUpload(
        "datasets/a/pairs/1/train-00000.tar", name, 5, make_object("", draw(AGES)).modified
    )


@st.composite
def export_folders(draw: st.DrawFn) -> ExportFolder:
    dataset, export = draw(st.sampled_from("ab")), draw(st.sampled_from(["e", "f"]))
    place = f"models/{dataset}/promoted/{export * 16}"
    files = draw(st.sampled_from([("card.json", "generator.onnx"), ("generator.onnx",)]))
    entries = tuple(make_object(f"{place}/{file}", draw(AGES)) for file in files)
    return ExportFolder(dataset, place, entries)


retentions = st.builds(CheckpointRetention, st.integers(1, 3), st.integers(0, 2))


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    sets = draw(st.lists(stored_pair_sets(), unique_by=lambda found: found.path))
    checkpoints = draw(st.lists(stored_checkpoints(), unique_by=lambda found: found.path))
    begun = draw(st.lists(uploads(), unique_by=lambda found: found.upload_id))
    exports = draw(st.lists(export_folders(), unique_by=lambda found: found.path))
    found_all: list[StoredPairSet | StoredCheckpoint | ExportFolder] = [
        *sets,
        *checkpoints,
        *exports,
    ]
    places = [found.path for found in found_all]
    needed = draw(st.sets(st.sampled_from([*places, "datasets/a/pairs/gone"])))
    runs = {(found.dataset, found.run) for found in checkpoints}
    keeping = {run: draw(retentions) for run in sorted(runs) if draw(st.booleans())}
    return Inventory(
        NOW,
        tuple(sets),
        tuple(checkpoints),
        tuple(exports),
        tuple(begun),
        keeping,
        frozenset(needed),
    )


policies = st.builds(
    GcPolicy,
    keep_pairs=st.integers(0, 3),
    keep_last=st.none() | st.integers(1, 3),
    keep_best=st.none() | st.integers(0, 2),
    older_than=HOURS.map(lambda hours: timedelta(hours=hours)),
)


def last_modified(found: StoredPairSet | StoredCheckpoint | ExportFolder) -> datetime:
    return max(entry.modified for entry in found.objects)


def is_retained_pair_set(inventory: Inventory, one: StoredPairSet, rules: GcPolicy) -> bool:
    newer = [
        found
        for found in inventory.pair_sets
        if found.dataset == one.dataset
        and found.published
        and found.path not in inventory.referenced
        and (last_modified(found), found.fingerprint) > (last_modified(one), one.fingerprint)
    ]
    return one.published and len(newer) < rules.keep_pairs


def progress(record: CheckpointRecord) -> tuple[int, bool]:
    return record.step, not record.batches


def is_retained_checkpoint(inventory: Inventory, one: StoredCheckpoint, rules: GcPolicy) -> bool:
    if len(one.objects) < 2:
        return False
    if one.record is None:
        return True
    run = [
        found.record
        for found in inventory.checkpoints
        if (found.dataset, found.run) == (one.dataset, one.run)
        and found.record is not None
        and len(found.objects) == 2
    ]
    own = inventory.retention.get((one.dataset, one.run), CheckpointRetention(3, 1))
    last = own.last if rules.keep_last is None else rules.keep_last
    best = own.best if rules.keep_best is None else rules.keep_best
    figures = sorted(r.metrics["val_l1"] for r in run if r.metrics.get("val_l1", math.nan) >= 0)
    later = [record for record in run if not record.batches and record.epoch > one.record.epoch]
    return (
        progress(one.record) == max(map(progress, run))
        or one.record.metrics.get("val_l1", math.nan) in figures[:best]
        or (not one.record.batches and len(later) < last)
    )


@given(inventories(), policies)
def test_what_is_needed_kept_or_young_never_goes_and_the_rest_does(
    inventory: Inventory, rules: GcPolicy
) -> None:
    planned = select_candidates(inventory, rules)
    places = {item.path for item in planned}
    assert len(places) == len(planned)
    assert not places & inventory.referenced
    for found in inventory.pair_sets:
        stays = (
            found.path in inventory.referenced
            or NOW - last_modified(found) < rules.older_than
            or is_retained_pair_set(inventory, found, rules)
        )
        assert (found.path in places) != stays
    for one in inventory.checkpoints:
        stays = (
            one.path in inventory.referenced
            or NOW - last_modified(one) < rules.older_than
            or is_retained_checkpoint(inventory, one, rules)
        )
        assert (one.path in places) != stays
    for files in inventory.exports:
        stays = files.path in inventory.referenced or NOW - last_modified(files) < rules.older_than
        assert (files.path in places) != stays
    for upload in inventory.uploads:
        old = NOW - upload.initiated >= max(rules.older_than, timedelta(days=1))
        assert (upload.upload_id in places) == old


def test_an_interim_one_goes_when_its_epoch_ends_at_that_step() -> None:
    def stored(step: int, batches: int) -> StoredCheckpoint:
        record = CheckpointRecord(epoch=1, step=step, batches=batches, sha256="", metrics={})
        place = f"models/a/r/{record.name}"
        pair = tuple(make_object(f"{place[:-2]}{ending}", 0) for ending in ("json", "pt"))
        return StoredCheckpoint("a", "r", place, record, pair)

    end, same, later = stored(12, 0), stored(12, 4), stored(13, 1)
    assert set(retained_checkpoints([end, same], CheckpointRetention())) == {end.path}
    assert set(retained_checkpoints([same], CheckpointRetention())) == {same.path}
    assert set(retained_checkpoints([end, same, later], CheckpointRetention())) == {
        end.path,
        later.path,
    }


@given(inventories(), retentions, st.data())
def test_what_goes_of_some_checkpoints_would_go_of_all(
    inventory: Inventory, keeping: CheckpointRetention, data: st.DataObject
) -> None:
    """So a run may drop as it goes, and of what waits to be pushed."""
    run = [found for found in inventory.checkpoints if found.run == "r" and found.dataset == "a"]
    some = [found for found in run if data.draw(st.booleans())]
    gone = {found.path for found in some if found.is_complete} - set(
        retained_checkpoints(some, keeping)
    )
    assert not gone & set(retained_checkpoints(run, keeping))


@given(inventories(), policies)
def test_once_it_is_gone_nothing_more_may_go(inventory: Inventory, rules: GcPolicy) -> None:
    gone = {item.path for item in select_candidates(inventory, rules)}
    left = replace(
        inventory,
        pair_sets=tuple(found for found in inventory.pair_sets if found.path not in gone),
        checkpoints=tuple(found for found in inventory.checkpoints if found.path not in gone),
        exports=tuple(found for found in inventory.exports if found.path not in gone),
        uploads=tuple(found for found in inventory.uploads if found.upload_id not in gone),
    )
    assert select_candidates(left, rules) == []


def test_what_marks_others_as_done_goes_before_them() -> None:
    folder, run = "datasets/a/pairs/1", "models/a/r/checkpoints"
    served = "models/a/promoted/e"
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
        "a", served, tuple(make_object(f"{served}/{part}", 999) for part in parts)
    )
    held = Inventory(NOW, (stored,), checkpoints, (export,), (), {}, frozenset())
    planned = select_candidates(held, GcPolicy(keep_pairs=0, keep_last=1))
    assert [item.size for item in planned] == [50, 20, 30]
    assert [key.rpartition("/")[2] for item in planned for key in item.keys] == [
        *("manifest.parquet", "0.parquet", "1.parquet", "a.html", "val-0.tar"),
        *("epoch-0001.json", "epoch-0001.pt"),
        *("card.json", "0-drawing.png", "generator.onnx"),
    ]
