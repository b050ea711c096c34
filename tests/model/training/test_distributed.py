"""Two real processes that train together, against one that has the whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from config.settings import get_settings
from model.training.callbacks import TrainingStopped
from model.training.distributed import BatchShard, DistributedContext
from storage import LocalStore
from storage.runs import Run
from tests.model.pairs import publish_test_pairs
from tests.model.training.ranks import BATCHES, FIXED, take_steps
from tests.model.training.test_train import assert_same, train_small

PLACES = ("whole", "begun alone", "begun together", "alone")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two processes have left their results in."""
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ICANVAS_CACHE", str(folder / "cache"))
        get_settings.cache_clear()
        train_everywhere(folder)
    get_settings.cache_clear()
    return folder


def train_everywhere(folder: Path) -> None:
    for name in PLACES:
        # Three batches an epoch, the last of one pair.
        publish_test_pairs(LocalStore(folder / name), "tttttvv")
    steps: list[int] = []
    with pytest.raises(TrainingStopped):
        train_small(
            LocalStore(folder / "begun alone"),
            recipe=FIXED,
            on_step=lambda done, _: steps.append(done),
            should_stop=lambda: steps[-1] == 4,
        )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ended = subprocess.run(
        [*torchrun, "--nproc-per-node=2", "-m", "tests.model.training.ranks", str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(2)]


def test_together_a_step_is_that_of_one_process_with_the_whole_batch(
    ranks: list[dict[str, Any]],
) -> None:
    for together, alone in zip(ranks[0]["steps"], take_steps(), strict=True):
        assert together.keys() == alone.keys()
        for name, value in together.items():
            apart = (value - alone[name]).norm() / alone[name].norm().clamp(min=1e-6)
            # Adam makes a whole step of a gradient that is next to nothing.
            assert apart < (1e-4 if "gradient" in name else 1e-3), name


def test_all_processes_have_the_same_weights_pool_and_figures(
    ranks: list[dict[str, Any]],
) -> None:
    assert len(ranks[0]["steps"]) == len(BATCHES)
    for kept in ("steps", "followed"):
        assert_same(ranks[0][kept], ranks[1][kept])
    first, last = ranks[0]["steps"][0], ranks[0]["steps"][-1]
    moved = [name for name in first if not torch.equal(first[name], last[name])]
    assert {name.split()[0] for name in moved} >= {"generator", "discriminator", "eval_generator"}


def test_all_skip_a_step_together(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        first, last = rank["skipped"]
        assert first["skipped"] == last["skipped"] == 1
        for name in first:
            if name.startswith(("generator ", "discriminator ")) and "gradient" not in name:
                assert torch.equal(first[name], last[name]), name


def test_a_run_of_two_is_a_run_of_one(folder: Path, ranks: list[dict[str, Any]]) -> None:
    train_small(LocalStore(folder / "alone"), recipe=FIXED)
    assert ranks[0]["followed"][0] == list(range(10))
    assert_like_alone(folder, "whole")


def test_a_run_goes_on_with_another_number_of_processes(
    folder: Path, ranks: list[dict[str, Any]]
) -> None:
    train_small(LocalStore(folder / "alone"), recipe=FIXED)
    _, alone, together = ranks[0]["followed"]
    assert alone == list(range(4, 10))
    assert together == list(range(5)), "one that says stop stops both"
    steps: list[int] = []
    store = LocalStore(folder / "begun together")
    train_small(store, recipe=FIXED, on_step=lambda done, _: steps.append(done))
    assert steps == list(range(4, 10))
    assert_like_alone(folder, "begun alone")
    assert_like_alone(folder, "begun together")


def assert_like_alone(folder: Path, name: str) -> None:
    """Compare a run's folder with that of one process."""
    one, other = LocalStore(folder / "alone"), LocalStore(folder / name)
    assert list(one.list_keys("models")) == list(other.list_keys("models"))
    logs = []
    for store in (one, other):
        (key,) = [key for key in store.list_keys("models") if key.endswith("metrics.jsonl")]
        logs.append([json.loads(line) for line in store.get(key).splitlines()])
        run = Run(store, "tiny", key.split("/")[2])
        assert [record.epoch for record in run.list_all_checkpoints()] == [1, 2, FIXED.epochs]
    for alone, together in zip(*logs, strict=True):
        assert together == pytest.approx(alone, rel=0.01), name


def test_what_the_first_process_meets_all_meet(folder: Path, ranks: list[dict[str, Any]]) -> None:
    assert [(folder / f"told-{rank}").read_text() for rank in range(2)] == ["refused"] * 2


def test_the_group_ends_with_its_block(folder: Path, ranks: list[dict[str, Any]]) -> None:
    """A thread of it that outlives the interpreter aborts the process now and then."""
    for rank in range(2):
        assert "gloo" not in (folder / f"threads-{rank}").read_text()


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_shares_are_the_whole_batch_and_weigh_one(size: int, count: int) -> None:
    shares = [BatchShard(DistributedContext(rank, size), count) for rank in range(size)]
    assert sum(share.weight for share in shares) == pytest.approx(1)
    given = [list(range(count))[share.indices] for share in shares]
    assert all(given)
    taken = [
        place for part, share in zip(given, shares, strict=True) if share.weight for place in part
    ]
    assert sorted(taken) == list(range(count))
