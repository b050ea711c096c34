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
from storage.gc import prune, sweep
from storage.gc_lock import announced
from storage.gc_policy import Keeping, Removable, Rules
from storage.pair_sets import is_published, read_current
from storage.promoted_files import Example, put_export
from storage.promotions import Promotion, export_files, read_promoted, swap_promoted
from storage.runs import Run
from tests.storage.contents import (
    all_keys,
    assert_marks_hold,
    begin_run,
    make_old,
    make_promotion,
    meddled,
    plan,
    put_set,
    use_set,
    watched,
)

AT_ONCE = Rules(older_than=timedelta(0))
HOUR = Rules(keep_pairs=0, keep_last=1, older_than=timedelta(hours=1))
NOW = timedelta(0)


def fill(store: LocalStore) -> list[Removable]:
    """Make a published set, an unfinished one, a run and files to serve; all is old and may go."""
    put_set(store, "published")
    put_set(store, "unfinished", published=False)
    run = begin_run(store, "run", "published")
    run.put_checkpoint(1, 1, b"one", {})
    run.put_checkpoint(2, 2, b"two", {})
    store.delete(run.key("recipe.json"))
    export(store)
    make_old(store, "datasets", 2)
    make_old(store, "models", 2)
    planned = plan(store, HOUR)
    assert len(planned) == 4
    return planned


def begin_training(store: ObjectStore) -> None:
    begin_run(store, "new", "published")


def prepare(store: ObjectStore) -> None:
    put_set(store, "published")
    use_set(store, "published")


def prepare_unfinished(store: ObjectStore) -> None:
    put_set(store, "unfinished")
    use_set(store, "unfinished")


def export(store: ObjectStore) -> Promotion:
    """Write a checkpoint's files, as a promotion does: the same ones are under the same name."""
    made = put_export(store, "demo", b"weights", b"network", b"{}", [Example(b"png", b"png")])
    return make_promotion().model_copy(update=asdict(made))


def choose_checkpoint(store: ObjectStore) -> None:
    swap_promoted(store, "demo", export(store), None)


def is_there(store: ObjectStore, need: Callable[[ObjectStore], None]) -> bool:
    if need is choose_checkpoint:
        served = read_promoted(store, "demo")
        if served is None:
            return False
        files = [keys.export_card("demo", served.export), *export_files("demo", served)]
        kept = [record.epoch for record in Run(store, "demo", "run").checkpoints()]
        return all(map(store.exists, files)) and 1 in kept
    return is_published(store, "demo", "unfinished" if need is prepare_unfinished else "published")


def count_calls(store: LocalStore, work: Callable[[ObjectStore], object]) -> int:
    calls: list[str] = []
    work(watched(store, calls.append))
    return len(calls)


@pytest.mark.parametrize("removal_inside", [True, False])
@pytest.mark.parametrize("need", [begin_training, prepare, prepare_unfinished, choose_checkpoint])
def test_whoever_needs_it_at_any_moment_has_it_whole_or_is_told(
    tmp_path: Path, no_sync: None, need: Callable[[ObjectStore], None], removal_inside: bool
) -> None:
    """One begins and ends between two calls of the other, between whichever two."""
    planned: list[Removable] = []
    told: list[Exception] = []

    def remove(store: ObjectStore) -> None:
        sweep(store, HOUR, planned, patience=NOW)

    def come_to_need(store: ObjectStore) -> None:
        try:
            need(store)
        except (ConflictError, IntegrityError, NotFoundError) as error:
            told.append(error)

    outer, inner = (come_to_need, remove) if removal_inside else (remove, come_to_need)
    store = LocalStore(tmp_path / "counted")
    planned = fill(store)
    moments = count_calls(store, outer)
    told_at = []
    for moment in range(moments):
        store = LocalStore(tmp_path / str(moment))
        planned = fill(store)
        told.clear()
        outer(meddled(store, moment, partial(inner, store)))
        assert is_there(store, need) or told
        told_at += [moment] * bool(told)
        for name in ("published", "unfinished"):
            assert_marks_hold(store, name)
        # Whoever was told runs again.
        if need is not choose_checkpoint:
            prepare(store)
            need(store)
            assert is_there(store, need)
    assert len(told_at) < moments
    assert told_at or removal_inside, "they never met"


@pytest.mark.parametrize("pruned_inside", [True, False])
def test_a_promotion_while_a_run_prunes_has_its_checkpoint_or_is_told(
    tmp_path: Path, no_sync: None, pruned_inside: bool
) -> None:
    told: list[Exception] = []

    def thin(store: ObjectStore) -> None:
        prune(store, "demo", "run", Keeping(last=1))

    def choose(store: ObjectStore) -> None:
        try:
            choose_checkpoint(store)
        except NotFoundError as error:
            told.append(error)

    outer, inner = (choose, thin) if pruned_inside else (thin, choose)
    store = LocalStore(tmp_path / "counted")
    fill(store)
    moments, told_at = count_calls(store, outer), []
    for moment in range(moments):
        store = LocalStore(tmp_path / str(moment))
        fill(store)
        told.clear()
        outer(meddled(store, moment, partial(inner, store)))
        assert is_there(store, choose_checkpoint) or told
        if is_there(store, choose_checkpoint):
            run = Run(store, "demo", "run")
            assert run.get_checkpoint(run.checkpoints()[0]) == b"one"
        told_at += [moment] * bool(told)
    assert 0 < len(told_at) < moments


class KilledError(BaseException):
    """No call is done any more: what a killed process would clean up stays."""


def killed(store: ObjectStore, moment: int) -> ObjectStore:
    """Return the store, of which no call is done from one on, counted from 0."""
    calls = count()

    def die(_: str) -> None:
        if next(calls) >= moment:
            raise KilledError

    return watched(store, die)


def test_a_killed_removal_is_finished_by_the_next(tmp_path: Path, no_sync: None) -> None:
    store = LocalStore(tmp_path / "counted")
    planned = fill(store)
    moments = count_calls(store, lambda store: sweep(store, HOUR, planned, patience=NOW))
    done = all_keys(store)
    for moment in range(moments):
        store = LocalStore(tmp_path / str(moment))
        planned = fill(store)
        with pytest.raises(KilledError):
            sweep(killed(store, moment), HOUR, planned, patience=NOW)
        for name in ("published", "unfinished"):
            assert_marks_hold(store, name)
        sweep(store, HOUR, plan(store, HOUR), patience=NOW)
        assert all_keys(store) == done
        assert plan(store, HOUR) == []


def test_what_a_run_was_killed_at_pruning_goes_the_next_time(tmp_path: Path, no_sync: None) -> None:
    """Whatever it was about to do; a checkpoint that is on its way stays."""

    def fill_run(store: LocalStore) -> Run:
        run = Run(store, "demo", "run")
        for epoch in range(1, 5):
            run.put_checkpoint(epoch, 10 * epoch, b"state", {})
            run.put_checkpoint(epoch, 10 * epoch + 3, b"interim", {}, batches=3)
        run.put("checkpoints/epoch-0005.pt", b"its record follows")
        return run

    def thin(store: ObjectStore) -> None:
        prune(store, "demo", "run", Keeping(last=2))

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
            thin(killed(store, moment))
        places = [key for key in all_keys(store) if key.endswith(".pt")]
        halves += len(places) - len(run.all_checkpoints()) - 1
        thin(store)
        assert all_keys(store) == done
    assert halves >= 5, "it was never killed between a record and its bytes"


def test_a_really_killed_one_is_too(any_store: ObjectStore) -> None:
    for name in "abc":
        put_set(any_store, name)
    script = f"""
import os, signal
from datetime import timedelta
from storage import open_store
from storage.gc import sweep, take_inventory
from storage.gc_policy import Rules, plan_removal
store, rules = open_store({any_store.url!r}), Rules(older_than=timedelta(0))
delete, left = store.delete, [0] * 5
def die(key):
    if key.startswith("datasets/") and (not left or left.pop()):
        os.kill(os.getpid(), signal.SIGKILL)
    delete(key)
store.delete = die
sweep(store, rules, plan_removal(take_inventory(store), rules))
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -9
    assert any_store.exists("gc/removing.json")
    assert not is_published(any_store, "demo", "a")
    assert 0 < len(list(any_store.list("datasets/demo/pairs/a"))) < 9
    with pytest.raises(ConflictError, match=r"pairs/a is being removed.*icanvas gc --yes"):
        put_set(any_store, "a")
    sweep(any_store, AT_ONCE, plan(any_store, AT_ONCE), patience=NOW)
    assert all_keys(any_store) == set(any_store.list("datasets/demo/pairs/c"))
    put_set(any_store, "a")


def test_an_announcement_that_was_left_goes_although_nothing_else_does(store: LocalStore) -> None:
    announced(store, ["datasets/demo/pairs/a"], NOW).__enter__()
    assert sweep(store, AT_ONCE, [], patience=NOW) == []
    put_set(store, "a")


def test_one_whose_place_was_taken_removes_nothing_more(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc_lock, "_BEAT", 0)
    planned = fill(store)
    heir = announced(store, [], NOW)
    calls: list[str] = []

    def fall_asleep(name: str) -> None:
        calls.append(name)
        if name == "delete" and calls.count(name) == 3:
            heir.__enter__()

    before = all_keys(store)
    with pytest.raises(ConflictError):
        sweep(watched(store, fall_asleep), HOUR, planned)
    # Its clock is the first delete; what was on its way was the third.
    assert len(before) - len(all_keys(store) - {"gc/removing.json"}) == 2
    assert store.exists("gc/removing.json")


def test_what_a_running_process_writes_stays(any_store: ObjectStore) -> None:
    """It writes longer than what goes is old, while removal runs again and again."""
    script = f"""
import time
from storage import open_store
from storage.pins import claim
from tests.storage.contents import begin_run, put_set, use_set
store = open_store({any_store.url!r})
put_set(store, "before")
run = begin_run(store, "run", "before")
claim(store, "demo", "new", {{"name": "new"}})
ends, step = time.monotonic() + 5, 0
while time.monotonic() < ends:
    step += 1
    run.put_checkpoint(step, step, b"state" * step, {{}})
    store.put(f"datasets/demo/pairs/new/train-{{step:05d}}.tar", b"pairs")
    store.put(f"datasets/demo/pairs/new/parts/{{step:05d}}.parquet", b"rows")
    time.sleep(0.05)
put_set(store, "new")
use_set(store, "new")
print(step)
"""
    put_set(any_store, "idle")
    rules = Rules(keep_pairs=0, keep_last=1, older_than=timedelta(seconds=3))
    removed: list[Removable] = []
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            removed += sweep(any_store, rules, plan(any_store, rules))
        assert process.stdout is not None
        steps = int(process.stdout.read())
    assert process.returncode == 0
    assert "pair set idle" in {item.what for item in removed}
    assert {item.what for item in removed} <= {"pair set idle", "checkpoint of run run"}
    parts = [key for key in any_store.list("datasets/demo/pairs/new") if "/parts/" in key]
    assert len(parts) == steps + 1
    shards = [key for key in any_store.list("datasets/demo/pairs/new") if key.endswith(".tar")]
    assert len(shards) == steps + 1
    current = read_current(any_store, "demo")
    assert current is not None and is_published(any_store, "demo", current.fingerprint)
    assert is_published(any_store, "demo", "before")
    records = Run(any_store, "demo", "run").checkpoints()
    assert records[-1].step == steps > len(records)
    for record in records:
        assert Run(any_store, "demo", "run").get_checkpoint(record) == b"state" * record.step
