"""Garbage collection on real stores."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings

from config.errors import IntegrityError
from storage import LocalStore, ObjectStore, gc_policy, keys
from storage.gc import collect, prune_run, scan
from storage.gc_policy import (
    CheckpointRetention,
    ExportFolder,
    GcPolicy,
    Inventory,
    StoredCheckpoint,
    StoredPairSet,
    select_candidates,
)
from storage.object_info import ObjectInfo
from storage.pair_sets import CurrentPairs, is_published
from storage.promotions import export_files
from storage.runs import Run
from storage.s3 import S3Store
from tests.s3 import BUCKET, SeaweedFS
from tests.storage.contents import (
    all_keys,
    list_candidates,
    make_promotion,
    point_at_pair_set,
    promote_checkpoint,
    put_export_files,
    put_pair_set,
    set_age,
    start_run,
)
from tests.storage.test_gc_policy import inventories, policies

DELETE_NOW = GcPolicy(older_than=timedelta(0))
HOUR = GcPolicy(keep_pairs=0, keep_last=1, older_than=timedelta(hours=1))
NOW = timedelta(0)


def test_collect_deletes_unreferenced_objects_only(any_store: ObjectStore) -> None:
    unrelated_keys = ["datasets/demo/raw/r/00000.tar", "datasets/demo/calibration/c/table.csv"]
    unrelated_keys += ["models/demo/run/samples/epoch-0001.jpg", "models/demo/run/metrics.jsonl"]
    for key in unrelated_keys:
        any_store.put(key, b"1")
    for name, published in {"a": True, "b": False, "c": True, "d": True, "e": True}.items():
        put_pair_set(any_store, name, published)
    point_at_pair_set(any_store, "e")
    run = start_run(any_store, "run", "c")
    for epoch, val_l1 in enumerate([0.5, 0.1, 0.4, 0.3, 0.2, 0.6], 1):
        run.save_checkpoint(epoch, epoch, b"b" * epoch, {"val_l1": val_l1})
    put_checkpoint = Run(any_store, "demo", "run").key("checkpoints/epoch-0099.pt")
    any_store.put(put_checkpoint, b"its process was killed")
    promote_checkpoint(any_store, epoch=3)
    put_export_files(any_store, make_promotion(epoch=9))

    keys_before = all_keys(any_store)
    candidates = list_candidates(any_store, DELETE_NOW)
    assert {(item.description, item.reason) for item in candidates} == {
        ("pair set a", "not in use, no run needs it"),
        ("pair set b", "unfinished"),
        ("checkpoint of run run", "not among the last 3 or the best 1"),
        ("checkpoint of run run", "incomplete"),
        ("export", "not named by any promotion"),
    }
    assert all_keys(any_store) == keys_before, "scanning changes the store"
    progress: list[None] = []
    removed = collect(any_store, DELETE_NOW, candidates, on_deleted=lambda: progress.append(None))
    assert [item.path for item in removed] == [item.path for item in candidates]
    deleted_keys = {key for item in candidates for key in item.keys}
    assert len(progress) == len(deleted_keys)
    assert all_keys(any_store) == keys_before - deleted_keys
    assert {key for key in deleted_keys if "/pairs/" not in key} == {
        "models/demo/run/checkpoints/epoch-0001.json",
        "models/demo/run/checkpoints/epoch-0001.pt",
        "models/demo/run/checkpoints/epoch-0099.pt",
        keys.export_card("demo", make_promotion(epoch=9).export),
        *export_files("demo", make_promotion(epoch=9)),
    }
    assert [record.epoch for record in run.list_checkpoints()] == [2, 3, 4, 5, 6]
    assert list_candidates(any_store, DELETE_NOW) == []


def test_prune_run_retains_last_best_and_promoted_checkpoints(
    any_store: ObjectStore,
) -> None:
    run = Run(any_store, "demo", "run")
    other = Run(any_store, "demo", "other")
    other.save_checkpoint(1, 1, b"", {"val_l1": 0.1})
    retention = CheckpointRetention(last=2, best=2)
    retained = []
    for epoch, val_l1 in enumerate([0.5, 0.1, 0.4, 0.3, 0.2, 0.6, 0.7, 0.8], 1):
        run.save_checkpoint(epoch, 10 * epoch, b"", {"val_l1": val_l1})
        if epoch in (3, 4):
            promote_checkpoint(any_store, epoch=epoch)
        prune_run(any_store, "demo", "run", retention)
        retained.append([record.epoch for record in run.list_checkpoints()])
    assert retained[1:4] == [[1, 2], [2, 3], [2, 3, 4]], "the best two, the promoted, the last two"
    assert retained[-1] == [2, 3, 4, 5, 7, 8], "earlier promotions are retained, too"
    assert len(list(any_store.list_keys(run.key("checkpoints")))) == 12
    candidates = list_candidates(any_store, GcPolicy(keep_last=1, older_than=timedelta(0)))
    assert {item.path[-7:-3] for item in candidates} == {"0005", "0007"}
    assert [record.epoch for record in other.list_checkpoints()] == [1]


def test_prune_run_deletes_superseded_interim_checkpoints(store: LocalStore) -> None:
    run = Run(store, "demo", "abc")
    run.save_checkpoint(1, 10, b"one", {"l1": 0.7})
    run.save_checkpoint(1, 12, b"later", {}, batches=2)
    run.save_checkpoint(1, 13, b"still later", {}, batches=3)
    prune_run(store, "demo", "abc", CheckpointRetention())
    assert [record.step for record in run.list_all_checkpoints()] == [10, 13]
    run.save_checkpoint(2, 20, b"two", {"l1": 0.5})
    run.put(f"checkpoints/step-{22:08d}.pt", b"record pending")
    store.put(run.key("checkpoints/epoch-0000.pt"), b"other version")
    store.put(run.key("checkpoints/epoch-0000.json"), b"?")
    # As in an uploader that has already uploaded the bytes.
    store.delete(run.key("checkpoints/epoch-0001.pt"))
    coming = [run.key("checkpoints/epoch-0001.json")]
    prune_run(store, "demo", "abc", CheckpointRetention(last=1), coming)
    names = [key.rpartition("/")[2] for key in store.list_keys(run.key("checkpoints"))]
    assert names == [
        *("epoch-0000.json", "epoch-0000.pt", "epoch-0001.json"),
        *("epoch-0002.json", "epoch-0002.pt"),
        "step-00000022.pt",
    ]


def test_collect_can_be_limited_to_one_dataset(store: LocalStore) -> None:
    for dataset in ("one", "other"):
        put_pair_set(store, "a", dataset=dataset)
        put_pair_set(store, "b", dataset=dataset)
    candidates = list_candidates(store, DELETE_NOW, "one")
    assert [(item.dataset, item.description) for item in candidates] == [("one", "pair set a")]
    collect(store, DELETE_NOW, candidates, "one")
    assert len(list_candidates(store, DELETE_NOW)) == 1
    assert is_published(store, "other", "a")


def test_unfinished_uploads_are_collected_after_a_day(
    any_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(any_store, LocalStore):
        any_store.put("datasets/demo/raw/r/00000.tar", b"1")
        path = Path(any_store.location("datasets/demo/raw/r/00000.tar"))
        path.with_name(".icanvas-0").write_bytes(bytes(7))
    else:
        client = any_store._s3  # type: ignore[attr-defined]
        bucket, key = any_store.location("datasets/demo/raw/r/00000.tar")[5:].split("/", 1)
        started = client.create_multipart_upload(Bucket=bucket, Key=key)
        part = {"Bucket": bucket, "Key": key, "UploadId": started["UploadId"]}
        client.upload_part(**part, PartNumber=1, Body=bytes(7))
    assert list_candidates(any_store, DELETE_NOW) == [], (
        "it may be in progress: uploads take up to a day"
    )
    monkeypatch.setattr(gc_policy, "_MIN_UPLOAD_AGE", timedelta(0))
    (item,) = candidates = list_candidates(any_store, DELETE_NOW)
    assert (item.dataset, item.description, item.size) == ("demo", "upload", 7)
    assert collect(any_store, DELETE_NOW, candidates) == candidates
    assert list_candidates(any_store, DELETE_NOW) == []
    assert list(any_store.list_uploads("datasets")) == []


def test_unreadable_pointer_or_recipe_stops_scan(store: LocalStore) -> None:
    put_pair_set(store, "a")
    for key in (
        "datasets/demo/pairs/current.json",
        "models/demo/run/recipe.json",
        "models/demo/promoted.json",
    ):
        store.put("models/demo/run/checkpoints/epoch-0001.pt", b"")
        store.put(key, b"{}")
        with pytest.raises(IntegrityError, match=f"{key} is corrupt"):
            scan(store)
        store.delete(key)


def test_age_is_measured_by_the_stores_clock(tmp_path: Path) -> None:
    class Elsewhere(LocalStore):
        """A store whose clock is a year ahead of this machine's."""

        def entries(self, prefix: str) -> Iterator[ObjectInfo]:
            for entry in super().list_objects(prefix):
                yield ObjectInfo(entry.key, entry.size, entry.modified + timedelta(days=365))

    store = Elsewhere(tmp_path / "elsewhere")
    for name, hours in {"young": 0.9, "old": 1.1}.items():
        put_pair_set(store, name)
        set_age(store, keys.pairs_folder("demo", name), hours)
    assert [item.description for item in list_candidates(store, HOUR)] == ["pair set old"]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(inventories(), policies)
def test_collect_deletes_exactly_the_selected_candidates(
    tmp_path: Path, no_sync: None, inventory: Inventory, policy: GcPolicy
) -> None:
    with TemporaryDirectory(dir=tmp_path) as folder:
        store = LocalStore(Path(folder))
        stored = write_inventory(store, inventory)
        candidates = list_candidates(store, policy)
        assert {item.path for item in candidates} == {
            item.path for item in select_candidates(stored, policy)
        }
        deleted_keys = {key for item in candidates for key in item.keys}
        keys_before = all_keys(store)
        assert collect(store, policy, candidates) == candidates
        assert all_keys(store) == keys_before - deleted_keys
        assert list_candidates(store, policy) == []


def write_inventory(store: LocalStore, inventory: Inventory) -> Inventory:
    """Fill a store with an inventory; return the part of it that a store can represent."""
    # The file system's clock may lag by some milliseconds.
    now = datetime.now(UTC) - timedelta(seconds=1)
    checkpoints = [
        # JSON has no NaN, so such a record cannot be read.
        replace(stored, record=None) if math.isnan(_val_l1(stored)) else stored
        for stored in inventory.checkpoints
    ]
    stored_folders: list[StoredPairSet | ExportFolder] = [*inventory.pair_sets, *inventory.exports]
    contents = [(info, "") for stored in stored_folders for info in stored.objects]
    for stored in checkpoints:
        content = "?" if stored.record is None else stored.record.model_dump_json()
        contents += [(info, content) for info in stored.objects]
    for info, content in contents:
        path = Path(store.location(info.key))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        timestamp = (info.modified - inventory.now + now).timestamp()
        os.utime(path, (timestamp, timestamp))
    for (dataset, run), retention in inventory.retention.items():
        recipe = {"keep_last": retention.last, "keep_best": retention.best}
        recipe_json = json.dumps({"pairs": "none", "recipe": recipe})
        store.put(f"models/{dataset}/{run}/recipe.json", recipe_json.encode())
    pointers = set()
    referenced = set()
    for reference in sorted(inventory.referenced):
        root, dataset, run, *_, name = reference.split("/")
        if root == "datasets":
            key = keys.current_pairs(dataset)
            content = CurrentPairs(fingerprint=name, source="/x").model_dump_json()
            if key in pointers:
                key = f"models/{dataset}/of-{name}/recipe.json"
                content = json.dumps({"pairs": name})
        elif name.startswith("epoch-"):
            key = keys.promoted(dataset)
            content = make_promotion(run, int(name[6:10])).model_dump_json()
        elif run == "promoted":
            key = keys.promoted(dataset)
            content = make_promotion().model_copy(update={"export": name}).model_dump_json()
        is_promoted = run == "promoted" or name.startswith("epoch-")
        if root == "datasets" or (is_promoted and key not in pointers):
            store.put(key, content.encode())
            pointers.add(key)
            referenced.add(reference)
    return replace(
        inventory, checkpoints=tuple(checkpoints), uploads=(), referenced=frozenset(referenced)
    )


def _val_l1(checkpoint: StoredCheckpoint) -> float:
    return 0 if checkpoint.record is None else checkpoint.record.metrics.get("val_l1", 0)


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        (keys.current_pairs("demo"), "run `icanvas prepare demo`"),
        (keys.promoted("demo"), "promote a checkpoint again"),
        ("models/demo/run/recipe.json", "train again, before `icanvas gc`"),
    ],
)
def test_truncated_s3_object_error_names_its_remedy(
    s3_store: S3Store, s3_server: SeaweedFS, key: str, remedy: str
) -> None:
    """Deleting the object alone would release what it references to garbage collection."""
    put_pair_set(s3_store, "a")
    point_at_pair_set(s3_store, "a")
    run = start_run(s3_store, "run", "a")
    run.save_checkpoint(1, 1, b"weights", {})
    promote_checkpoint(s3_store)
    client, name = s3_server.client(), s3_store.location(key).split("/", 3)[3]
    metadata = client.head_object(Bucket=BUCKET, Key=name)["Metadata"]
    client.put_object(Bucket=BUCKET, Key=name, Body=s3_store.get(key)[:9], Metadata=metadata)
    with pytest.raises(IntegrityError, match=f"Delete it and {remedy}"):
        scan(s3_store)
