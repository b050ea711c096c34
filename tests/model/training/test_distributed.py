"""Distributed training in two real processes, compared with a single process."""

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

STORES = ("two", "started by one", "started by two", "one")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the results of two processes."""
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ICANVAS_CACHE", str(folder / "cache"))
        get_settings.cache_clear()
        train_all_runs(folder)
    get_settings.cache_clear()
    return folder


def train_all_runs(folder: Path) -> None:
    for name in STORES:
        # Three batches per epoch, the last of one pair.
        publish_test_pairs(LocalStore(folder / name), "tttttvv")
    steps: list[int] = []
    with pytest.raises(TrainingStopped):
        train_small(
            LocalStore(folder / "started by one"),
            recipe=FIXED,
            on_step=lambda done, _: steps.append(done),
            should_stop=lambda: steps[-1] == 4,
        )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    result = subprocess.run(
        [*torchrun, "--nproc-per-node=2", "-m", "tests.model.training.ranks", str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(2)]


def test_steps_equal_those_of_one_process(
    ranks: list[dict[str, Any]],
) -> None:
    for distributed, single in zip(ranks[0]["steps"], take_steps(), strict=True):
        assert distributed.keys() == single.keys()
        for name, value in distributed.items():
            relative_difference = (value - single[name]).norm() / single[name].norm().clamp(
                min=1e-6
            )
            # Adam takes a full step along a tiny gradient, so weights differ more than gradients.
            assert relative_difference < (1e-4 if "gradient" in name else 1e-3), name


def test_processes_have_equal_weights_pool_and_metrics(
    ranks: list[dict[str, Any]],
) -> None:
    assert len(ranks[0]["steps"]) == len(BATCHES)
    for key in ("steps", "runs"):
        assert_same(ranks[0][key], ranks[1][key])
    first, last = ranks[0]["steps"][0], ranks[0]["steps"][-1]
    changed = [name for name in first if not torch.equal(first[name], last[name])]
    assert {name.split()[0] for name in changed} >= {"generator", "discriminator", "eval_generator"}


def test_nan_in_one_process_skips_the_step_in_all(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        first, last = rank["skipped"]
        assert first["skipped"] == last["skipped"] == 1
        for name in first:
            if name.startswith(("generator ", "discriminator ")) and "gradient" not in name:
                assert torch.equal(first[name], last[name]), name


def test_run_of_two_processes_equals_run_of_one(folder: Path, ranks: list[dict[str, Any]]) -> None:
    train_small(LocalStore(folder / "one"), recipe=FIXED)
    assert ranks[0]["runs"][0] == list(range(10))
    assert_equals_single_process(folder, "two")


def test_run_is_resumed_with_another_number_of_processes(
    folder: Path, ranks: list[dict[str, Any]]
) -> None:
    train_small(LocalStore(folder / "one"), recipe=FIXED)
    _, single, distributed = ranks[0]["runs"]
    assert single == list(range(4, 10))
    assert distributed == list(range(5)), "a stop in one process stops both"
    steps: list[int] = []
    store = LocalStore(folder / "started by two")
    train_small(store, recipe=FIXED, on_step=lambda done, _: steps.append(done))
    assert steps == list(range(4, 10))
    assert_equals_single_process(folder, "started by one")
    assert_equals_single_process(folder, "started by two")


def assert_equals_single_process(folder: Path, name: str) -> None:
    """Compare a run with that of a single process."""
    one, other = LocalStore(folder / "one"), LocalStore(folder / name)
    assert list(one.list_keys("models")) == list(other.list_keys("models"))
    logs = []
    for store in (one, other):
        (key,) = [key for key in store.list_keys("models") if key.endswith("metrics.jsonl")]
        logs.append([json.loads(line) for line in store.get(key).splitlines()])
        run = Run(store, "tiny", key.split("/")[2])
        assert [record.epoch for record in run.list_all_checkpoints()] == [1, 2, FIXED.epochs]
    for single, distributed in zip(*logs, strict=True):
        assert distributed == pytest.approx(single, rel=0.01), name


def test_error_in_main_process_is_raised_in_all(folder: Path, ranks: list[dict[str, Any]]) -> None:
    assert [(folder / f"error-{rank}").read_text() for rank in range(2)] == ["failed"] * 2


def test_process_group_is_destroyed_after_the_block(
    folder: Path, ranks: list[dict[str, Any]]
) -> None:
    """A thread of the group that outlives the interpreter may abort the process."""
    for rank in range(2):
        assert "gloo" not in (folder / f"threads-{rank}").read_text()


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_shards_cover_the_batch_and_weights_sum_to_one(size: int, count: int) -> None:
    shards = [BatchShard(DistributedContext(rank, size), count) for rank in range(size)]
    assert sum(shard.weight for shard in shards) == pytest.approx(1)
    parts = [list(range(count))[shard.indices] for shard in shards]
    assert all(parts)
    covered = [
        index for part, shard in zip(parts, shards, strict=True) if shard.weight for index in part
    ]
    assert sorted(covered) == list(range(count))
