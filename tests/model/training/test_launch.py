"""Real child processes, two of them, that train together for this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from config.errors import InputError, IntegrityError
from model.data.dataset import PairDataset
from model.data.sampler import ResumableBatchSampler
from model.training.callbacks import TrainingCallbacks, TrainingStopped
from model.training.distributed import DistributedContext
from model.training.launch import (
    WorkerConfig,
    WorkerEvent,
    _forward_events,
    count_processes,
    launch_distributed,
)
from storage import LocalStore
from storage.keys import pairs_folder, shard_name
from storage.runs import Run
from tests.model.pairs import publish_test_pairs
from tests.model.training.ranks import FIXED

LONG = FIXED.model_copy(update={"epochs": 100})


def order_for(store: LocalStore) -> WorkerConfig:
    return WorkerConfig(store=store.url, dataset="tiny", pairs="pairs", recipe=LONG, force=False)


@pytest.mark.slow
def test_stopped_they_keep_a_checkpoint_and_the_next_go_on(store: LocalStore) -> None:
    """And one that meets damage ends both, with its own error."""
    publish_test_pairs(store, "tttttvv")
    steps: list[int] = []
    with pytest.raises(TrainingStopped):
        launch_distributed(
            2,
            order_for(store),
            TrainingCallbacks(
                on_step=lambda done, _: steps.append(done),
                should_stop=lambda: len(steps) > 1,
            ),
        )
    (name,) = {key.split("/")[2] for key in store.list_keys("models")}
    stopped = Run(store, "tiny", name).list_all_checkpoints()[-1].step
    assert 1 <= stopped < 300

    # A pair that the second process reads soon.
    pairs = PairDataset(store, "tiny", "pairs", "train", FIXED.image_size)
    sampler = ResumableBatchSampler(
        len(pairs), LONG, *divmod(stopped, 3), context=DistributedContext(1, 2)
    )
    index = next(iter(sampler))[0].index
    offset, size = (
        int(pairs.selected_records.offsets[index]),
        int(pairs.selected_records.sizes[index]),
    )
    key = f"{pairs_folder('tiny', 'pairs')}/{shard_name(0, 'train')}"
    shard = store.get(key)
    store.put(key, shard[:offset] + bytes(size) + shard[offset + size :])
    steps.clear()
    said: list[str] = []
    with pytest.raises(IntegrityError, match=r"is damaged \d+ bytes from its start"):
        launch_distributed(
            2,
            order_for(store),
            TrainingCallbacks(on_step=lambda done, _: steps.append(done)),
            on_output=said.append,
        )
    assert steps[0] == stopped
    assert any("exitcode" in line for line in said), "torchrun's own words are passed on"


@pytest.mark.slow
def test_a_process_ends_with_the_one_that_started_it(store: LocalStore) -> None:
    """However that comes about: its end closes the pipe."""
    publish_test_pairs(store, "tttttvv")
    child = subprocess.Popen(
        [sys.executable, "-m", "model", order_for(store).model_dump_json()],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None and child.stdout is not None
    assert child.stdout.readline() == '{"step":[0,300]}\n'
    child.stdout.close()
    child.stdin.close()
    assert child.wait(timeout=60) == 0
    (record,) = [
        key for key in store.list_keys("models") if "/step-" in key and key.endswith("json")
    ]
    assert record


def test_as_many_processes_as_there_is_work_and_place_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert count_processes("auto", 4) == 1
    assert count_processes("4", 4) == 4
    with pytest.raises(InputError, match=r"batch=2 pairs to share.*--set batch=3"):
        count_processes("3", 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert count_processes("auto", 4) == 2
    assert count_processes("auto", 1) == 1
    with pytest.raises(InputError, match="there are 2"):
        count_processes("3", 4)


def test_what_a_process_says_is_passed_on(store: LocalStore) -> None:
    said = [
        WorkerEvent(log={"epoch": 1, "step": 10, "l1": 0.5}),
        WorkerEvent(upload_error="the store is full."),
        WorkerEvent(stopped="no step was taken yet"),
    ]
    # As a process of a run, it says what it has to say when it is asked to end.
    script = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(*sys.argv[1:], sep='\\n')"
    )
    lines = [message.model_dump_json(exclude_defaults=True) for message in said]
    child = subprocess.Popen(
        [sys.executable, "-c", script, *lines],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    told: list[object] = []
    hooks = TrainingCallbacks(
        on_log=told.append, on_upload_error=told.append, should_stop=lambda: bool(told)
    )
    with pytest.raises(TrainingStopped, match="no step was taken yet"):
        _forward_events(child, order_for(store), hooks, told.append)
    assert told == [said[0].log, said[1].upload_error]
