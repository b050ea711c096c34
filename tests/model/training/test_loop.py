"""What the loop makes of what its loaders and its hooks say."""

import json
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from torch._utils import ExceptionWrapper

from config.errors import CorruptObjectError, InputError, StorageError
from config.recipe import make_recipe
from model.data.dataset import Sample
from model.training.artifacts import METRICS_FILE, RunArtifacts
from model.training.callbacks import TrainingCallbacks, TrainingStopped
from model.training.loop import read_batch
from model.training.tensorboard import events_name, is_complete_file
from model.training.train import train
from storage import LocalStore
from storage.runs import Run
from tests.model.pairs import publish_test_pairs
from tests.model.training.test_train import SMALL, read_run_files, train_small


def fail_as_a_worker_does(text: str) -> Iterator[Sample]:
    try:
        raise CorruptObjectError(text)
    except CorruptObjectError:
        worker = ExceptionWrapper(where="in DataLoader worker process 0")  # type: ignore[no-untyped-call]
        worker.reraise()  # type: ignore[no-untyped-call]
    yield from ()


def test_an_error_of_a_loaders_process_is_one_line() -> None:
    text = "A pair is damaged: DamagedBits at 7. Make it anew."
    with pytest.raises(CorruptObjectError) as told:
        read_batch(fail_as_a_worker_does(text))
    assert str(told.value) == text


def test_a_checkpoint_is_kept_before_anything_is_drawn(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawing takes long, and may be what a process is killed in."""
    publish_test_pairs(store, "ttv")
    other = LocalStore(store.root / "other")
    publish_test_pairs(other, "ttv")
    train_small(other)

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(RunArtifacts, "epoch_files", fail)
        with pytest.raises(InputError, match="out of memory"):
            train_small(store)
    steps: list[int] = []
    train_small(store, on_step=lambda done, _: steps.append(done))
    assert steps[0] == 1, "the epoch was done again"
    assert read_run_files(store) == read_run_files(other)


def test_within_a_long_epoch_a_checkpoint_is_kept_now_and_then(store: LocalStore) -> None:
    publish_test_pairs(store, "tttttttt")
    often = SMALL.model_copy(update={"checkpoint_minutes": 1e-6})
    for recipe, begun in ((often, 2), (SMALL, 0)):
        steps: list[int] = []

        def crash(done: int, _total: int, steps: list[int] = steps) -> None:
            steps.append(done)
            if steps.count(3) == 1 == len(steps) - 3:
                raise ZeroDivisionError

        seeded = recipe.model_copy(update={"seed": begun})
        with pytest.raises(ZeroDivisionError):
            train_small(store, recipe=seeded, on_step=crash)
        run = train_small(store, recipe=seeded, on_step=crash)
        assert steps[4] == begun
        records = Run(store, "tiny", run.run).list_all_checkpoints()
        assert not any(record.batches for record in records)


def test_an_epoch_without_a_checkpoint_is_no_reason_to_wait(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is the time since the last one."""
    publish_test_pairs(store, "tttttt")
    clock = iter(range(0, 10_000, 60))
    monkeypatch.setattr("model.training.loop.time", SimpleNamespace(monotonic=lambda: next(clock)))
    # Three steps an epoch, of a minute each as far as the loop knows, and some at its end.
    recipe = SMALL.model_copy(update={"epochs": 3, "checkpoint_every": 3, "checkpoint_minutes": 5})

    def crash(done: int, _total: int) -> None:
        if done == 8:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train_small(store, recipe=recipe, on_step=crash)
    (name,) = {key.split("/")[2] for key in store.list_keys("models")}
    (kept,) = Run(store, "tiny", name).list_all_checkpoints()
    assert kept.batches
    assert 3 < kept.step < 8


def test_a_long_epoch_can_be_followed(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves need not wait for its end, which leaves what it left before."""
    publish_test_pairs(store, "t" * 60 + "v")
    other = LocalStore(store.root / "other")
    publish_test_pairs(other, "t" * 60 + "v")
    train_small(other)
    monkeypatch.setattr("model.training.loop._FLUSH_INTERVAL_S", 0.0)
    told: list[int] = []

    def crash(done: int, _total: int) -> None:
        if done == 43:
            raise ZeroDivisionError

    def follow(line: dict[str, float]) -> None:
        told.append(int(line["step"]))

    with pytest.raises(ZeroDivisionError):
        train_small(store, on_step=crash, on_log=follow)
    assert told[-1] == 40
    (name,) = {key.split("/")[2] for key in store.list_keys("models")}
    run = Run(store, "tiny", name)
    lines = [json.loads(line) for line in (run.get(METRICS_FILE) or b"").splitlines()]
    assert [line["step"] for line in lines if "lr" in line] == [10, 20, 30, 40]
    assert is_complete_file(run.get(events_name(2)) or b"")
    train_small(store)
    assert read_run_files(store) == read_run_files(other)


def test_a_store_that_is_away_costs_no_step(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_test_pairs(store, "tttttttt")

    def end(stream: Iterator[Sample]) -> Sample:
        if steps[-1] == 6:
            raise StorageError("The store does not answer.")
        return next(stream)

    steps: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr("model.training.loop.read_batch", end)
        with pytest.raises(StorageError, match="does not answer"):
            train_small(store, on_step=lambda done, _: steps.append(done))
    steps.clear()
    train_small(store, on_step=lambda done, _: steps.append(done))
    assert steps[0] == 6


def test_tracing_can_be_stopped(store: LocalStore) -> None:
    publish_test_pairs(store, "tttv")
    recipe = make_recipe({}, {"image_size": 64, "generator_width": 4, "augment": 1})
    steps: list[int] = []
    hooks = TrainingCallbacks(on_step=lambda done, _: steps.append(done), should_stop=lambda: True)
    with pytest.raises(TrainingStopped, match="no step was taken yet"):
        train(store, "tiny", "pairs", recipe, callbacks=hooks)
    assert not steps
    assert list(store.list_keys("datasets/tiny/pairs/pairs/strokes-1")), "what was traced is kept"
