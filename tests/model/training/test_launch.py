"""Launching distributed training in two real processes."""

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


def make_worker_config(store: LocalStore) -> WorkerConfig:
    return WorkerConfig(store=store.url, dataset="tiny", pairs="pairs", recipe=LONG, force=False)


@pytest.mark.slow
def test_stopped_run_is_resumed_and_worker_error_is_raised(store: LocalStore) -> None:
    """A damaged pair in one worker ends both; its error is raised here."""
    publish_test_pairs(store, "tttttvv")
    steps: list[int] = []
    with pytest.raises(TrainingStopped):
        launch_distributed(
            2,
            make_worker_config(store),
            TrainingCallbacks(
                on_step=lambda done, _: steps.append(done),
                should_stop=lambda: len(steps) > 1,
            ),
        )
    (name,) = {key.split("/")[2] for key in store.list_keys("models")}
    stopped = Run(store, "tiny", name).list_all_checkpoints()[-1].step
    assert 1 <= stopped < 300

    # Damage a pair that the second process reads soon.
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
    output: list[str] = []
    with pytest.raises(IntegrityError, match=r"is damaged \d+ bytes from its start"):
        launch_distributed(
            2,
            make_worker_config(store),
            TrainingCallbacks(on_step=lambda done, _: steps.append(done)),
            on_output=output.append,
        )
    assert steps[0] == stopped
    assert any("exitcode" in line for line in output), "torchrun's own output is forwarded"


@pytest.mark.slow
def test_worker_ends_when_its_parent_ends(store: LocalStore) -> None:
    """The end of the parent in any way closes the pipe to the worker's stdin."""
    publish_test_pairs(store, "tttttvv")
    process = subprocess.Popen(
        [sys.executable, "-m", "model", make_worker_config(store).model_dump_json()],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == '{"step":[0,300]}\n'
    process.stdout.close()
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    (record,) = [
        key for key in store.list_keys("models") if "/step-" in key and key.endswith("json")
    ]
    assert record


def test_process_count_is_limited_by_gpus_and_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert count_processes("auto", 4) == 1
    assert count_processes("4", 4) == 4
    with pytest.raises(InputError, match=r"batch=2 pairs to share.*--set batch=3"):
        count_processes("3", 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert count_processes("auto", 4) == 2
    assert count_processes("auto", 1) == 1
    with pytest.raises(InputError, match="this machine has 2"):
        count_processes("3", 4)


def test_worker_events_are_forwarded(store: LocalStore) -> None:
    events = [
        WorkerEvent(log={"epoch": 1, "step": 10, "l1": 0.5}),
        WorkerEvent(upload_error="the store is full."),
        WorkerEvent(stopped="no step was taken yet"),
    ]
    # Like a worker, the script prints its events after SIGTERM.
    script = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(*sys.argv[1:], sep='\\n')"
    )
    lines = [event.model_dump_json(exclude_defaults=True) for event in events]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *lines],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    received: list[object] = []
    callbacks = TrainingCallbacks(
        on_log=received.append, on_upload_error=received.append, should_stop=lambda: bool(received)
    )
    with pytest.raises(TrainingStopped, match="no step was taken yet"):
        _forward_events(process, make_worker_config(store), callbacks, received.append)
    assert received == [events[0].log, events[1].upload_error]
