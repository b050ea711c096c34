"""Garbage collection concurrent with processes that need the objects, and killed ones."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from config.errors import ConflictError, IntegrityError, NotFoundError
from storage import LocalStore, ObjectStore, gc_lock, keys
from storage.gc import collect, prune_run
from storage.gc_lock import hold_gc_lock
from storage.gc_policy import CheckpointRetention, GcCandidate, GcPolicy
from storage.pair_sets import is_published, read_current
from storage.promoted_files import Example, write_export
from storage.promotions import Promotion, export_files, read_promoted, swap_promoted
from storage.runs import Run
from tests.storage.contents import (
    all_keys,
    assert_markers_consistent,
    interfere_before_call,
    list_candidates,
    make_promotion,
    observe_calls,
    point_at_pair_set,
    put_pair_set,
    set_age,
    start_run,
)

DELETE_NOW = GcPolicy(older_than=timedelta(0))
HOUR = GcPolicy(keep_pairs=0, keep_last=1, older_than=timedelta(hours=1))
NOW = timedelta(0)


def fill_store(store: LocalStore) -> list[GcCandidate]:
    """Create a published set, an unfinished one, a run and an export; return them as candidates.

    All of it is old enough to be deleted.
    """
    put_pair_set(store, "published")
    put_pair_set(store, "unfinished", published=False)
    run = start_run(store, "run", "published")
    run.save_checkpoint(1, 1, b"one", {})
    run.save_checkpoint(2, 2, b"two", {})
    store.delete(run.key("recipe.json"))
    write_demo_export(store)
    set_age(store, "datasets", 2)
    set_age(store, "models", 2)
    candidates = list_candidates(store, HOUR)
    assert len(candidates) == 4
    return candidates


def start_training(store: ObjectStore) -> None:
    start_run(store, "new", "published")


def prepare(store: ObjectStore) -> None:
    put_pair_set(store, "published")
    point_at_pair_set(store, "published")


def prepare_unfinished(store: ObjectStore) -> None:
    put_pair_set(store, "unfinished")
    point_at_pair_set(store, "unfinished")


def write_demo_export(store: ObjectStore) -> Promotion:
    """Write the exported files of a checkpoint. Equal files get the same name."""
    export = write_export(store, "demo", b"weights", b"network", b"{}", [Example(b"png", b"png")])
    return make_promotion().model_copy(update=asdict(export))


def promote_first_checkpoint(store: ObjectStore) -> None:
    swap_promoted(store, "demo", write_demo_export(store), None)


def is_intact(store: ObjectStore, use: Callable[[ObjectStore], None]) -> bool:
    if use is promote_first_checkpoint:
        promoted = read_promoted(store, "demo")
        if promoted is None:
            return False
        files = [keys.export_card("demo", promoted.export), *export_files("demo", promoted)]
        epochs = [record.epoch for record in Run(store, "demo", "run").list_checkpoints()]
        return all(map(store.exists, files)) and 1 in epochs
    return is_published(store, "demo", "unfinished" if use is prepare_unfinished else "published")


def count_calls(store: LocalStore, work: Callable[[ObjectStore], object]) -> int:
    calls: list[str] = []
    work(observe_calls(store, calls.append))
    return len(calls)


@pytest.mark.parametrize("removal_inside", [True, False])
@pytest.mark.parametrize(
    "use", [start_training, prepare, prepare_unfinished, promote_first_checkpoint]
)
def test_concurrent_user_finds_intact_objects_or_gets_an_error(
    tmp_path: Path, no_sync: None, use: Callable[[ObjectStore], None], removal_inside: bool
) -> None:
    """One process runs completely between two calls of the other, for every pair of calls."""
    candidates: list[GcCandidate] = []
    errors: list[Exception] = []

    def remove(store: ObjectStore) -> None:
        collect(store, HOUR, candidates, lock_timeout=NOW)

    def come_to_need(store: ObjectStore) -> None:
        try:
            use(store)
        except (ConflictError, IntegrityError, NotFoundError) as error:
            errors.append(error)

    outer, inner = (come_to_need, remove) if removal_inside else (remove, come_to_need)
    store = LocalStore(tmp_path / "counted")
    candidates = fill_store(store)
    num_calls = count_calls(store, outer)
    failed_calls = []
    for call_number in range(num_calls):
        store = LocalStore(tmp_path / str(call_number))
        candidates = fill_store(store)
        errors.clear()
        outer(interfere_before_call(store, call_number, partial(inner, store)))
        assert is_intact(store, use) or errors
        failed_calls += [call_number] * bool(errors)
        for name in ("published", "unfinished"):
            assert_markers_consistent(store, name)
        # After an error the user runs again.
        if use is not promote_first_checkpoint:
            prepare(store)
            use(store)
            assert is_intact(store, use)
    assert len(failed_calls) < num_calls
    assert failed_calls or removal_inside, "the two never interfered"


@pytest.mark.parametrize("pruned_inside", [True, False])
def test_promotion_during_prune_run_keeps_its_checkpoint_or_gets_an_error(
    tmp_path: Path, no_sync: None, pruned_inside: bool
) -> None:
    errors: list[Exception] = []

    def prune(store: ObjectStore) -> None:
        prune_run(store, "demo", "run", CheckpointRetention(last=1))

    def promote(store: ObjectStore) -> None:
        try:
            promote_first_checkpoint(store)
        except NotFoundError as error:
            errors.append(error)

    outer, inner = (promote, prune) if pruned_inside else (prune, promote)
    store = LocalStore(tmp_path / "counted")
    fill_store(store)
    num_calls, failed_calls = count_calls(store, outer), []
    for call_number in range(num_calls):
        store = LocalStore(tmp_path / str(call_number))
        fill_store(store)
        errors.clear()
        outer(interfere_before_call(store, call_number, partial(inner, store)))
        assert is_intact(store, promote_first_checkpoint) or errors
        if is_intact(store, promote_first_checkpoint):
            run = Run(store, "demo", "run")
            assert run.read_checkpoint(run.list_checkpoints()[0]) == b"one"
        failed_calls += [call_number] * bool(errors)
    assert 0 < len(failed_calls) < num_calls


class KilledError(BaseException):
    """Simulates a killed process: no later call is executed, so no cleanup happens."""


def kill_at_call(store: ObjectStore, call_number: int) -> ObjectStore:
    """Return the store; every call from the given one on, counted from 0, raises KilledError."""
    calls = count()

    def die(_: str) -> None:
        if next(calls) >= call_number:
            raise KilledError

    return observe_calls(store, die)


def test_next_collect_completes_a_killed_one(tmp_path: Path, no_sync: None) -> None:
    store = LocalStore(tmp_path / "counted")
    candidates = fill_store(store)
    num_calls = count_calls(store, lambda store: collect(store, HOUR, candidates, lock_timeout=NOW))
    expected = all_keys(store)
    for call_number in range(num_calls):
        store = LocalStore(tmp_path / str(call_number))
        candidates = fill_store(store)
        with pytest.raises(KilledError):
            collect(kill_at_call(store, call_number), HOUR, candidates, lock_timeout=NOW)
        for name in ("published", "unfinished"):
            assert_markers_consistent(store, name)
        collect(store, HOUR, list_candidates(store, HOUR), lock_timeout=NOW)
        assert all_keys(store) == expected
        assert list_candidates(store, HOUR) == []


def test_next_prune_run_completes_a_killed_one(tmp_path: Path, no_sync: None) -> None:
    """Wherever it was killed. A checkpoint that is being uploaded is retained."""

    def fill_run(store: LocalStore) -> Run:
        run = Run(store, "demo", "run")
        for epoch in range(1, 5):
            run.save_checkpoint(epoch, 10 * epoch, b"state", {})
            run.save_checkpoint(epoch, 10 * epoch + 3, b"interim", {}, batches=3)
        run.put("checkpoints/epoch-0005.pt", b"its record follows")
        return run

    def prune(store: ObjectStore) -> None:
        prune_run(store, "demo", "run", CheckpointRetention(last=2))

    store = LocalStore(tmp_path / "counted")
    fill_run(store)
    num_calls = count_calls(store, prune)
    expected = all_keys(store)
    assert {key.rpartition("/")[2] for key in expected if key.endswith(".pt")} == {
        *("epoch-0003.pt", "epoch-0004.pt", "epoch-0005.pt", "step-00000043.pt")
    }
    num_incomplete = 0
    for call_number in range(num_calls):
        store = LocalStore(tmp_path / str(call_number))
        run = fill_run(store)
        with pytest.raises(KilledError):
            prune(kill_at_call(store, call_number))
        checkpoint_keys = [key for key in all_keys(store) if key.endswith(".pt")]
        num_incomplete += len(checkpoint_keys) - len(run.list_all_checkpoints()) - 1
        prune(store)
        assert all_keys(store) == expected
    assert num_incomplete >= 5, "never killed between a record and its bytes"


def test_next_collect_completes_a_killed_process(any_store: ObjectStore) -> None:
    for name in "abc":
        put_pair_set(any_store, name)
    script = f"""
import os, signal
from datetime import timedelta
from storage import open_store
from storage.gc import collect, scan
from storage.gc_policy import GcPolicy, select_candidates
store, policy = open_store({any_store.url!r}), GcPolicy(older_than=timedelta(0))
delete, left = store.delete, [0] * 5
def die(key):
    if key.startswith("datasets/") and (not left or left.pop()):
        os.kill(os.getpid(), signal.SIGKILL)
    delete(key)
store.delete = die
collect(store, policy, select_candidates(scan(store), policy))
"""
    process = subprocess.run([sys.executable, "-c", script], check=False)
    assert process.returncode == -9
    assert any_store.exists("gc/removing.json")
    assert not is_published(any_store, "demo", "a")
    assert 0 < len(list(any_store.list_keys("datasets/demo/pairs/a"))) < 9
    with pytest.raises(ConflictError, match=r"pairs/a is being deleted.*icanvas gc --yes"):
        put_pair_set(any_store, "a")
    collect(any_store, DELETE_NOW, list_candidates(any_store, DELETE_NOW), lock_timeout=NOW)
    assert all_keys(any_store) == set(any_store.list_keys("datasets/demo/pairs/c"))
    put_pair_set(any_store, "a")


def test_collect_of_nothing_releases_an_abandoned_lock(store: LocalStore) -> None:
    hold_gc_lock(store, ["datasets/demo/pairs/a"], NOW).__enter__()
    assert collect(store, DELETE_NOW, [], lock_timeout=NOW) == []
    put_pair_set(store, "a")


def test_collect_stops_after_its_lock_is_taken_over(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc_lock, "_HEARTBEAT_INTERVAL_S", 0)
    candidates = fill_store(store)
    next_owner = hold_gc_lock(store, [], NOW)
    calls: list[str] = []

    def take_over(name: str) -> None:
        calls.append(name)
        if name == "delete" and calls.count(name) == 3:
            next_owner.__enter__()

    keys_before = all_keys(store)
    with pytest.raises(ConflictError):
        collect(observe_calls(store, take_over), HOUR, candidates)
    # The first delete is that of the clock object; the third was in progress.
    assert len(keys_before) - len(all_keys(store) - {"gc/removing.json"}) == 2
    assert store.exists("gc/removing.json")


def test_collect_never_deletes_what_a_live_process_writes(any_store: ObjectStore) -> None:
    """The process writes for longer than the minimum age, while collect runs repeatedly."""
    script = f"""
import time
from storage import open_store
from storage.pins import pin
from tests.storage.contents import start_run, put_pair_set, point_at_pair_set
store = open_store({any_store.url!r})
put_pair_set(store, "before")
run = start_run(store, "run", "before")
pin(store, "demo", "new", {{"name": "new"}})
ends, step = time.monotonic() + 5, 0
while time.monotonic() < ends:
    step += 1
    run.save_checkpoint(step, step, b"state" * step, {{}})
    store.put(f"datasets/demo/pairs/new/train-{{step:05d}}.tar", b"pairs")
    store.put(f"datasets/demo/pairs/new/parts/{{step:05d}}.parquet", b"rows")
    time.sleep(0.05)
put_pair_set(store, "new")
point_at_pair_set(store, "new")
print(step)
"""
    put_pair_set(any_store, "idle")
    policy = GcPolicy(keep_pairs=0, keep_last=1, older_than=timedelta(seconds=3))
    deleted: list[GcCandidate] = []
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            deleted += collect(any_store, policy, list_candidates(any_store, policy))
        assert process.stdout is not None
        steps = int(process.stdout.read())
    assert process.returncode == 0
    assert "pair set idle" in {item.description for item in deleted}
    assert {item.description for item in deleted} <= {"pair set idle", "checkpoint of run run"}
    parts = [key for key in any_store.list_keys("datasets/demo/pairs/new") if "/parts/" in key]
    assert len(parts) == steps + 1
    shards = [key for key in any_store.list_keys("datasets/demo/pairs/new") if key.endswith(".tar")]
    assert len(shards) == steps + 1
    current = read_current(any_store, "demo")
    assert current is not None and is_published(any_store, "demo", current.fingerprint)
    assert is_published(any_store, "demo", "before")
    records = Run(any_store, "demo", "run").list_checkpoints()
    assert records[-1].step == steps > len(records)
    for record in records:
        assert Run(any_store, "demo", "run").read_checkpoint(record) == b"state" * record.step
