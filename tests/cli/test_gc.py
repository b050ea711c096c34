"""``icanvas gc``, run as a process."""

import os

import pytest

from storage import LocalStore, keys
from storage.pending_uploads import pending_folder
from storage.runs import Run
from tests.cli.test_app import run_icanvas
from tests.storage.contents import point_at_pair_set, put_pair_set, set_age, start_run


def fill_store(store: LocalStore) -> Run:
    for name in ("111111111111", "222222222222", "333333333333", "444444444444"):
        put_pair_set(store, name, published=name[0] != "1")
    os.truncate(store.location(f"{keys.pairs_folder('demo', '2' * 12)}/train-00000.tar"), 3 * 10**9)
    point_at_pair_set(store, "4" * 12)
    run = start_run(store, "abcdefabcdef", "4" * 12)
    for epoch in range(1, 7):
        run.save_checkpoint(epoch, epoch, bytes(10_000), {"val_l1": 1 / epoch})
    set_age(store, "datasets", 24 * 34)
    set_age(store, "models", 24 * 12)
    return run


def test_lists_candidates_and_deletes_them_with_yes(store: LocalStore) -> None:
    run = fill_store(store)
    for columns in ("80", "120"):
        listed = run_icanvas("gc", COLUMNS=columns)
        assert listed.returncode == 0, listed.stderr
        lines = listed.stdout.splitlines()
        assert max(map(len, lines)) <= int(columns)
        for expected in (
            ("demo", "pair set 111111111111", "unfinished", "3.0 kB", "34 days"),
            ("demo", "pair set 222222222222", "not in use", "3.0 GB", "34 days"),
            ("demo", "3 × checkpoint of run abcdefabcdef", "not among the last", "kB", "12 days"),
        ):
            assert any(all(part in line for part in expected) for line in lines), expected
        assert lines[-1] == "3.0 GB can be deleted; run the same command with --yes."
    assert len(run.list_checkpoints()) == 6
    done = run_icanvas("gc", "--yes", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "3.0 GB freed."
    assert "objects" in done.stderr
    assert [record.epoch for record in run.list_checkpoints()] == [4, 5, 6]
    again = run_icanvas("gc", "--yes")
    assert again.returncode == 0, again.stderr
    assert (
        again.stdout == "Nothing to delete: every object is in use, retained, or younger than 7d.\n"
    )


def test_lists_pending_uploads(store: LocalStore) -> None:
    folder = LocalStore(pending_folder(store))
    waiting = Run(folder, "demo", "abc")
    waiting.put("metrics.jsonl", b"12")
    try:
        stdout = run_icanvas("gc").stdout
    finally:
        folder.delete(waiting.key("metrics.jsonl"))
    assert "demo: files of run abc (2 bytes) are pending on this machine, in " in stdout
    assert "run the same `icanvas train demo` again to upload them" in stdout


@pytest.mark.slow
def test_options_set_the_policy(store: LocalStore) -> None:
    fill_store(store)
    assert "Nothing to delete" in run_icanvas("gc", "--older-than", "35d").stdout
    assert "pair set 3" in run_icanvas("gc", "--keep-pairs", "0").stdout
    fewest = run_icanvas("gc", "--keep-checkpoints", "1", "--keep-best", "2", COLUMNS="120")
    assert "4 × checkpoint" in fewest.stdout
    assert "not among the last 1 or the best 2" in fewest.stdout
    put_pair_set(store, "new", published=False, dataset="other")
    assert "other" not in run_icanvas("gc").stdout
    only = run_icanvas("gc", "--older-than", "0", "--dataset", "other", "--yes")
    assert only.returncode == 0
    assert "pair set new" in only.stdout
    assert "demo" not in only.stdout
    assert list(store.list_keys("datasets/other")) == []
