import os

import pytest

from config.errors import CorruptObjectError, NotFoundError
from storage import LocalStore
from storage.runs import Run, checkpoint_name, list_checkpoints
from tests.storage.contents import interfere_before_call


def test_checkpoint_round_trip(store: LocalStore) -> None:
    run = Run(store, "demo", "abc")
    assert run.list_checkpoints() == []
    run.save_checkpoint(2, 20, b"two", {"l1": 0.5})
    run.save_checkpoint(1, 10, b"one", {"l1": 0.7})
    assert [(r.epoch, r.step, r.metrics) for r in run.list_checkpoints()] == [
        (1, 10, {"l1": 0.7}),
        (2, 20, {"l1": 0.5}),
    ]
    assert run.read_checkpoint(run.list_checkpoints()[-1]) == b"two"


def test_checkpoint_deleted_during_listing_is_skipped(store: LocalStore) -> None:
    run = Run(store, "demo", "abc")
    for epoch in (1, 2):
        run.save_checkpoint(epoch, epoch, b"", {})

    def remove() -> None:
        store.delete(run.key("checkpoints/epoch-0001.json"))

    listing = Run(interfere_before_call(store, 1, remove), "demo", "abc")
    assert [record.epoch for record in listing.list_checkpoints()] == [2]


def test_bytes_without_record_are_not_listed(store: LocalStore) -> None:
    run = Run(store, "demo", "abc")
    run.put(checkpoint_name(1), b"half written")
    assert run.list_checkpoints() == []


def test_corrupt_bytes_raise_and_corrupt_records_are_skipped(store: LocalStore) -> None:
    run = Run(store, "demo", "abc")
    run.save_checkpoint(1, 10, b"one", {})
    run.put(checkpoint_name(1), b"two")
    with pytest.raises(CorruptObjectError, match="epoch-0001"):
        run.read_checkpoint(run.list_checkpoints()[0])
    run.save_checkpoint(2, 20, b"two", {})
    run.put("checkpoints/epoch-0002.json", b"?")
    assert [record.epoch for record in run.list_checkpoints()] == [1], (
        "the second counts as not there"
    )


def test_interim_checkpoints_are_listed_by_step(store: LocalStore) -> None:
    run = Run(store, "demo", "abc")
    run.save_checkpoint(1, 10, b"one", {"l1": 0.7})
    run.save_checkpoint(1, 13, b"later", {}, batches=3)
    run.put(f"checkpoints/step-{12:08d}.pt", b"killed before its record")
    newest = run.list_all_checkpoints()[-1]
    assert (newest.epoch, newest.step, newest.batches) == (1, 13, 3)
    assert run.read_checkpoint(newest) == b"later"
    assert [record.step for record in run.list_checkpoints()] == [10]
    assert [record.step for record in run.list_all_checkpoints()] == [10, 13]


def test_invalidate_deletes_record_and_interim_bytes(store: LocalStore) -> None:
    run = Run(store, "demo", "abc")
    run.save_checkpoint(1, 10, b"one", {})
    run.save_checkpoint(1, 13, b"later", {}, batches=3)
    for record in run.list_all_checkpoints():
        run.invalidate(record)
    assert list(store.list_keys(run.key("checkpoints"))) == [run.key(checkpoint_name(1))]


def test_list_checkpoints_orders_runs_by_last_checkpoint(store: LocalStore) -> None:
    for number, run in enumerate(("bbb", "aaa", "ccc")):
        for epoch in (2, 10, 1):
            Run(store, "tiny", run).save_checkpoint(epoch, epoch, b"whole", {})
        for key in store.list_keys(f"models/tiny/{run}"):
            os.utime(store.location(key), (1000 + number, 1000 + number))
    Run(store, "tiny", "aaa").save_checkpoint(2, 25, b"interim", {}, batches=5)
    Run(store, "tiny", "aaa").put("checkpoints/epoch-0003.pt", b"without its record")
    Run(store, "other", "ddd").save_checkpoint(1, 1, b"another", {})
    epochs_by_run = list_checkpoints(store, "tiny")
    assert list(epochs_by_run.items()) == [(run, [1, 2, 10]) for run in ("bbb", "aaa", "ccc")]
    assert list_checkpoints(store, "nothing") == {}


def test_get_record_by_epoch(store: LocalStore) -> None:
    run = Run(store, "tiny", "run")
    run.save_checkpoint(3, 30, b"whole", {"l1": 0.5})
    assert run.get_record(3) == run.list_checkpoints()[0]
    with pytest.raises(NotFoundError, match=r"epoch-0004\.pt does not exist"):
        run.get_record(4)
