"""Removal beside those who come to need what goes, and by processes that are killed."""

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
    """Make a published set, an unfinished one, a run and files to serve; all is old and may go."""
    put_pair_set(store, "published")
    put_pair_set(store, "unfinished", published=False)
    run = start_run(store, "run", "published")
    run.save_checkpoint(1, 1, b"one", {})
    run.save_checkpoint(2, 2, b"two", {})
    store.delete(run.key("recipe.json"))
    write_demo_export(store)
    set_age(store, "datasets", 2)
    set_age(store, "models", 2)
    planned = list_candidates(store, HOUR)
    assert len(planned) == 4
    return planned


def start_training(store: ObjectStore) -> None:
    start_run(store, "new", "published")


def prepare(store: ObjectStore) -> None:
    put_pair_set(store, "published")
    point_at_pair_set(store, "published")


def prepare_unfinished(store: ObjectStore) -> None:
    put_pair_set(store, "unfinished")
    point_at_pair_set(store, "unfinished")


def write_demo_export(store: ObjectStore) -> Promotion:
    """Write a checkpoint's files, as a promotion does: the same ones are under the same name."""
    made = write_export(store, "demo", b"weights", b"network", b"{}", [Example(b"png", b"png")])
    return make_promotion().model_copy(update=asdict(made))


def promote_first_checkpoint(store: ObjectStore) -> None:
    swap_promoted(store, "demo", write_demo_export(store), None)


def is_intact(store: ObjectStore, need: Callable[[ObjectStore], None]) -> bool:
    if need is promote_first_checkpoint:
        served = read_promoted(store, "demo")
        if served is None:
            return False
        files = [keys.export_card("demo", served.export), *export_files("demo", served)]
        kept = [record.epoch for record in Run(store, "demo", "run").list_checkpoints()]
        return all(map(store.exists, files)) and 1 in kept
    return is_published(store, "demo", "unfinished" if need is prepare_unfinished else "published")


def count_calls(store: LocalStore, work: Callable[[ObjectStore], object]) -> int:
    calls: list[str] = []
    work(observe_calls(store, calls.append))
    return len(calls)


@pytest.mark.parametrize("removal_inside", [True, False])
@pytest.mark.parametrize(
    "need", [start_training, prepare, prepare_unfinished, promote_first_checkpoint]
)
def test_whoever_needs_it_at_any_moment_has_it_whole_or_is_told(
    tmp_path: Path, no_sync: None, need: Callable[[ObjectStore], None], removal_inside: bool
) -> None:
    """One begins and ends between two calls of the other, between whichever two."""
    planned: list[GcCandidate] = []
    told: list[Exception] = []

    def remove(store: ObjectStore) -> None:
        collect(store, HOUR, planned, lock_timeout=NOW)

    def come_to_need(store: ObjectStore) -> None:
        try:
            need(store)
        except (ConflictError, IntegrityError, NotFoundError) as error:
            told.append(error)

    outer, inner = (come_to_need, remove) if removal_inside else (remove, come_to_need)
    store = LocalStore(tmp_path / "counted")
    planned = fill_store(store)
    moments = count_calls(store, outer)
    told_at = []
    for moment in range(moments):
        store = LocalStore(tmp_path / str(moment))
        planned = fill_store(store)
        told.clear()
        outer(interfere_before_call(store, moment, partial(inner, store)))
        assert is_intact(store, need) or told
        told_at += [moment] * bool(told)
        for name in ("published", "unfinished"):
            assert_markers_consistent(store, name)
        # Whoever was told runs again.
        if need is not promote_first_checkpoint:
            prepare(store)
            need(store)
            assert is_intact(store, need)
    assert len(told_at) < moments
    assert told_at or removal_inside, "they never met"


@pytest.mark.parametrize("pruned_inside", [True, False])
def test_a_promotion_while_a_run_prunes_has_its_checkpoint_or_is_told(
    tmp_path: Path, no_sync: None, pruned_inside: bool
) -> None:
    told: list[Exception] = []

    def thin(store: ObjectStore) -> None:
        prune_run(store, "demo", "run", CheckpointRetention(last=1))

    def choose(store: ObjectStore) -> None:
        try:
            promote_first_checkpoint(store)
        except NotFoundError as error:
            told.append(error)

    outer, inner = (choose, thin) if pruned_inside else (thin, choose)
    store = LocalStore(tmp_path / "counted")
    fill_store(store)
    moments, told_at = count_calls(store, outer), []
    for moment in range(moments):
        store = LocalStore(tmp_path / str(moment))
        fill_store(store)
        told.clear()
        outer(interfere_before_call(store, moment, partial(inner, store)))
        assert is_intact(store, promote_first_checkpoint) or told
        if is_intact(store, promote_first_checkpoint):
            run = Run(store, "demo", "run")
            assert run.read_checkpoint(run.list_checkpoints()[0]) == b"one"
        told_at += [moment] * bool(told)
    assert 0 < len(told_at) < moments


class KilledError(BaseException):
    """No call is done any more: what a killed process would clean up stays."""


def kill_at_call(store: ObjectStore, moment: int) -> ObjectStore:
    """Return the store, of which no call is done from one on, counted from 0."""
    calls = count()

    def die(_: str) -> None:
        if next(calls) >= moment:
            raise KilledError

    return observe_calls(store, die)


def test_a_killed_removal_is_finished_by_the_next(tmp_path: Path, no_sync: None) -> None:
    store = LocalStore(tmp_path / "counted")
    planned = fill_store(store)
    moments = count_calls(store, lambda store: collect(store, HOUR, planned, lock_timeout=NOW))
    done = all_keys(store)
    for moment in range(moments):
        store = LocalStore(tmp_path / str(moment))
        planned = fill_store(store)
        with pytest.raises(KilledError):
            collect(kill_at_call(store, moment), HOUR, planned, lock_timeout=NOW)
        for name in ("published", "unfinished"):
            assert_markers_consistent(store, name)
        collect(store, HOUR, list_candidates(store, HOUR), lock_timeout=NOW)
        assert all_keys(store) == done
        assert list_candidates(store, HOUR) == []


def test_what_a_run_was_killed_at_pruning_goes_the_next_time(tmp_path: Path, no_sync: None) -> None:
    """Whatever it was about to do; a checkpoint that is on its way stays."""

    def fill_run(store: LocalStore) -> Run:
        run = Run(store, "demo", "run")
        for epoch in range(1, 5):
            run.save_checkpoint(epoch, 10 * epoch, b"state", {})
            run.save_checkpoint(epoch, 10 * epoch + 3, b"interim", {}, batches=3)
        run.put("checkpoints/epoch-0005.pt", b"its record follows")
        return run

    def thin(store: ObjectStore) -> None:
        prune_run(store, "demo", "run", CheckpointRetention(last=2))

    store = LocalStore(tmp_path / "counted")
    fill_run(store)
    moments = count_calls(store, thin)
    done = all_keys(store)
    assert {key.rpartition("/")[2] for key in done if key.endswith(".pt")} == {
        *("epoch-0003.pt", "epoch-0004.pt", "epoch-0005.pt", "step-00000043.pt")
    }
    halves = 0
    for moment in range(moments):
        store = LocalStore(tmp_path / str(moment))
        run = fill_run(store)
        with pytest.raises(KilledError):
            thin(kill_at_call(store, moment))
        places = [key for key in all_keys(store) if key.endswith(".pt")]
        halves += len(places) - len(run.list_all_checkpoints()) - 1
        thin(store)
        assert all_keys(store) == done
    assert halves >= 5, "it was never killed between a record and its bytes"


def test_a_really_killed_one_is_too(any_store: ObjectStore) -> None:
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
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -9
    assert any_store.exists("gc/removing.json")
    assert not is_published(any_store, "demo", "a")
    assert 0 < len(list(any_store.list_keys("datasets/demo/pairs/a"))) < 9
    with pytest.raises(ConflictError, match=r"pairs/a is being removed.*icanvas gc --yes"):
        put_pair_set(any_store, "a")
    collect(any_store, DELETE_NOW, list_candidates(any_store, DELETE_NOW), lock_timeout=NOW)
    assert all_keys(any_store) == set(any_store.list_keys("datasets/demo/pairs/c"))
    put_pair_set(any_store, "a")


def test_an_announcement_that_was_left_goes_although_nothing_else_does(store: LocalStore) -> None:
    hold_gc_lock(store, ["datasets/demo/pairs/a"], NOW).__enter__()
    assert collect(store, DELETE_NOW, [], lock_timeout=NOW) == []
    put_pair_set(store, "a")


def test_one_whose_place_was_taken_removes_nothing_more(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc_lock, "_HEARTBEAT_INTERVAL_S", 0)
    planned = fill_store(store)
    heir = hold_gc_lock(store, [], NOW)
    calls: list[str] = []

    def fall_asleep(name: str) -> None:
        calls.append(name)
        if name == "delete" and calls.count(name) == 3:
            heir.__enter__()

    before = all_keys(store)
    with pytest.raises(ConflictError):
        collect(observe_calls(store, fall_asleep), HOUR, planned)
    # Its clock is the first delete; what was on its way was the third.
    assert len(before) - len(all_keys(store) - {"gc/removing.json"}) == 2
    assert store.exists("gc/removing.json")


def test_what_a_running_process_writes_stays(any_store: ObjectStore) -> None:
    """It writes longer than what goes is old, while removal runs again and again."""
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
    rules = GcPolicy(keep_pairs=0, keep_last=1, older_than=timedelta(seconds=3))
    removed: list[GcCandidate] = []
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            removed += collect(any_store, rules, list_candidates(any_store, rules))
        assert process.stdout is not None
        steps = int(process.stdout.read())
    assert process.returncode == 0
    assert "pair set idle" in {item.description for item in removed}
    assert {item.description for item in removed} <= {"pair set idle", "checkpoint of run run"}
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
