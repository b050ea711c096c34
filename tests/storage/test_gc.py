"""Removal from real stores: what goes, and what stays."""

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


def test_what_is_needed_stays_and_the_rest_goes(any_store: ObjectStore) -> None:
    stays = ["datasets/demo/raw/r/00000.tar", "datasets/demo/calibration/c/table.csv"]
    stays += ["models/demo/run/samples/epoch-0001.jpg", "models/demo/run/metrics.jsonl"]
    for key in stays:
        any_store.put(key, b"1")
    for name, published in {"a": True, "b": False, "c": True, "d": True, "e": True}.items():
        put_pair_set(any_store, name, published)
    point_at_pair_set(any_store, "e")
    run = start_run(any_store, "run", "c")
    for epoch, figure in enumerate([0.5, 0.1, 0.4, 0.3, 0.2, 0.6], 1):
        run.save_checkpoint(epoch, epoch, b"b" * epoch, {"val_l1": figure})
    put_checkpoint = Run(any_store, "demo", "run").key("checkpoints/epoch-0099.pt")
    any_store.put(put_checkpoint, b"its process was killed")
    promote_checkpoint(any_store, epoch=3)
    put_export_files(any_store, make_promotion(epoch=9))

    before = all_keys(any_store)
    planned = list_candidates(any_store, DELETE_NOW)
    assert {(item.description, item.reason) for item in planned} == {
        ("pair set a", "not in use, no run needs it"),
        ("pair set b", "never finished"),
        ("checkpoint of run run", "not of the last 3 or the best 1"),
        ("checkpoint of run run", "half of it is missing"),
        ("files to serve", "no promotion names them"),
    }
    assert all_keys(any_store) == before, "a look changes something"
    counted: list[None] = []
    removed = collect(any_store, DELETE_NOW, planned, on_deleted=lambda: counted.append(None))
    assert [item.path for item in removed] == [item.path for item in planned]
    gone = {key for item in planned for key in item.keys}
    assert len(counted) == len(gone)
    assert all_keys(any_store) == before - gone
    assert {key for key in gone if "/pairs/" not in key} == {
        "models/demo/run/checkpoints/epoch-0001.json",
        "models/demo/run/checkpoints/epoch-0001.pt",
        "models/demo/run/checkpoints/epoch-0099.pt",
        keys.export_card("demo", make_promotion(epoch=9).export),
        *export_files("demo", make_promotion(epoch=9)),
    }
    assert [record.epoch for record in run.list_checkpoints()] == [2, 3, 4, 5, 6]
    assert list_candidates(any_store, DELETE_NOW) == []


def test_a_run_in_training_keeps_the_last_the_best_and_the_promoted(
    any_store: ObjectStore,
) -> None:
    run = Run(any_store, "demo", "run")
    other = Run(any_store, "demo", "other")
    other.save_checkpoint(1, 1, b"", {"val_l1": 0.1})
    keeping = CheckpointRetention(last=2, best=2)
    kept = []
    for epoch, figure in enumerate([0.5, 0.1, 0.4, 0.3, 0.2, 0.6, 0.7, 0.8], 1):
        run.save_checkpoint(epoch, 10 * epoch, b"", {"val_l1": figure})
        if epoch in (3, 4):
            promote_checkpoint(any_store, epoch=epoch)
        prune_run(any_store, "demo", "run", keeping)
        kept.append([record.epoch for record in run.list_checkpoints()])
    assert kept[1:4] == [[1, 2], [2, 3], [2, 3, 4]], "the best two, the promoted, the last two"
    assert kept[-1] == [2, 3, 4, 5, 7, 8], "what was promoted before stays, too"
    assert len(list(any_store.list_keys(run.key("checkpoints")))) == 12
    fewest = list_candidates(any_store, GcPolicy(keep_last=1, older_than=timedelta(0)))
    assert {item.path[-7:-3] for item in fewest} == {"0005", "0007"}
    assert [record.epoch for record in other.list_checkpoints()] == [1]


def test_interim_checkpoints_go_when_training_went_on(store: LocalStore) -> None:
    run = Run(store, "demo", "abc")
    run.save_checkpoint(1, 10, b"one", {"l1": 0.7})
    run.save_checkpoint(1, 12, b"later", {}, batches=2)
    run.save_checkpoint(1, 13, b"still later", {}, batches=3)
    prune_run(store, "demo", "abc", CheckpointRetention())
    assert [record.step for record in run.list_all_checkpoints()] == [10, 13]
    run.save_checkpoint(2, 20, b"two", {"l1": 0.5})
    run.put(f"checkpoints/step-{22:08d}.pt", b"its record is on the way")
    store.put(run.key("checkpoints/epoch-0000.pt"), b"of another version")
    store.put(run.key("checkpoints/epoch-0000.json"), b"?")
    # As in an outbox from which its bytes have gone already.
    store.delete(run.key("checkpoints/epoch-0001.pt"))
    coming = [run.key("checkpoints/epoch-0001.json")]
    prune_run(store, "demo", "abc", CheckpointRetention(last=1), coming)
    names = [key.rpartition("/")[2] for key in store.list_keys(run.key("checkpoints"))]
    assert names == [
        *("epoch-0000.json", "epoch-0000.pt", "epoch-0001.json"),
        *("epoch-0002.json", "epoch-0002.pt"),
        "step-00000022.pt",
    ]


def test_one_data_set_can_be_meant(store: LocalStore) -> None:
    for dataset in ("one", "other"):
        put_pair_set(store, "a", dataset=dataset)
        put_pair_set(store, "b", dataset=dataset)
    planned = list_candidates(store, DELETE_NOW, "one")
    assert [(item.dataset, item.description) for item in planned] == [("one", "pair set a")]
    collect(store, DELETE_NOW, planned, "one")
    assert len(list_candidates(store, DELETE_NOW)) == 1
    assert is_published(store, "other", "a")


def test_the_leftovers_of_killed_uploads_go(
    any_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(any_store, LocalStore):
        any_store.put("datasets/demo/raw/r/00000.tar", b"1")
        left = Path(any_store.location("datasets/demo/raw/r/00000.tar"))
        left.with_name(".icanvas-0").write_bytes(bytes(7))
    else:
        client = any_store._s3  # type: ignore[attr-defined]
        bucket, key = any_store.location("datasets/demo/raw/r/00000.tar")[5:].split("/", 1)
        begun = client.create_multipart_upload(Bucket=bucket, Key=key)
        part = {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}
        client.upload_part(**part, PartNumber=1, Body=bytes(7))
    assert list_candidates(any_store, DELETE_NOW) == [], (
        "it may go on: no upload takes longer than a day"
    )
    monkeypatch.setattr(gc_policy, "_MIN_UPLOAD_AGE", timedelta(0))
    (item,) = planned = list_candidates(any_store, DELETE_NOW)
    assert (item.dataset, item.description, item.size) == ("demo", "upload", 7)
    assert collect(any_store, DELETE_NOW, planned) == planned
    assert list_candidates(any_store, DELETE_NOW) == []
    assert list(any_store.list_uploads("datasets")) == []


def test_what_cannot_be_read_stops_it(store: LocalStore) -> None:
    put_pair_set(store, "a")
    for key in (
        "datasets/demo/pairs/current.json",
        "models/demo/run/recipe.json",
        "models/demo/promoted.json",
    ):
        store.put("models/demo/run/checkpoints/epoch-0001.pt", b"")
        store.put(key, b"{}")
        with pytest.raises(IntegrityError, match=f"{key} is damaged"):
            scan(store)
        store.delete(key)


def test_the_stores_clock_counts(tmp_path: Path) -> None:
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
def test_what_the_rule_says_goes_from_a_real_store(
    tmp_path: Path, no_sync: None, inventory: Inventory, rules: GcPolicy
) -> None:
    with TemporaryDirectory(dir=tmp_path) as folder:
        store = LocalStore(Path(folder))
        held = write_inventory(store, inventory)
        planned = list_candidates(store, rules)
        assert {item.path for item in planned} == {
            item.path for item in select_candidates(held, rules)
        }
        gone = {key for item in planned for key in item.keys}
        before = all_keys(store)
        assert collect(store, rules, planned) == planned
        assert all_keys(store) == before - gone
        assert list_candidates(store, rules) == []


def write_inventory(store: LocalStore, inventory: Inventory) -> Inventory:
    """Fill a store with an inventory, and return it as far as a store can hold it."""
    # The file system's clock may lag behind by some milliseconds.
    now = datetime.now(UTC) - timedelta(seconds=1)
    checkpoints = [
        # JSON knows no NaN: such a record cannot be read.
        replace(found, record=None) if math.isnan(_val_l1(found)) else found
        for found in inventory.checkpoints
    ]
    plain: list[StoredPairSet | ExportFolder] = [*inventory.pair_sets, *inventory.exports]
    contents = [(entry, "") for found in plain for entry in found.objects]
    for found in checkpoints:
        content = "?" if found.record is None else found.record.model_dump_json()
        contents += [(entry, content) for entry in found.objects]
    for entry, content in contents:
        path = Path(store.location(entry.key))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        then = (entry.modified - inventory.now + now).timestamp()
        os.utime(path, (then, then))
    for (dataset, run), keeping in inventory.retention.items():
        recipe = {"keep_last": keeping.last, "keep_best": keeping.best}
        facts = json.dumps({"pairs": "none", "recipe": recipe})
        store.put(f"models/{dataset}/{run}/recipe.json", facts.encode())
    pointers = set()
    needed = set()
    for place in sorted(inventory.referenced):
        root, dataset, run, *_, name = place.split("/")
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
        served = run == "promoted" or name.startswith("epoch-")
        if root == "datasets" or (served and key not in pointers):
            store.put(key, content.encode())
            pointers.add(key)
            needed.add(place)
    return replace(
        inventory, checkpoints=tuple(checkpoints), uploads=(), referenced=frozenset(needed)
    )


def _val_l1(found: StoredCheckpoint) -> float:
    return 0 if found.record is None else found.record.metrics.get("val_l1", 0)


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        (keys.current_pairs("demo"), "run `icanvas prepare demo`"),
        (keys.promoted("demo"), "promote a checkpoint again"),
        ("models/demo/run/recipe.json", "train again, before `icanvas gc`"),
    ],
)
def test_what_is_cut_short_on_s3_is_told_with_what_hangs_on_it(
    s3_store: S3Store, s3_server: SeaweedFS, key: str, remedy: str
) -> None:
    """Whoever only deleted it would let go of what it keeps."""
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
