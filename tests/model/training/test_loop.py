"""The training loop: loader errors, interim checkpoints, flushed logs, stops."""

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


def raise_as_loader_process(text: str) -> Iterator[Sample]:
    try:
        raise CorruptObjectError(text)
    except CorruptObjectError:
        worker = ExceptionWrapper(where="in DataLoader worker process 0")  # type: ignore[no-untyped-call]
        worker.reraise()  # type: ignore[no-untyped-call]
    yield from ()


def test_loader_process_error_has_its_own_message() -> None:
    text = "A pair is damaged: CorruptBits at 7. Prepare it again."
    with pytest.raises(CorruptObjectError) as error:
        read_batch(raise_as_loader_process(text))
    assert str(error.value) == text


def test_checkpoint_is_written_before_samples_are_rendered(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rendering takes long, and the process may be killed in it."""
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
    assert steps[0] == 1, "the epoch was trained again"
    assert read_run_files(store) == read_run_files(other)


def test_interim_checkpoints_are_written_within_an_epoch(store: LocalStore) -> None:
    publish_test_pairs(store, "tttttttt")
    often = SMALL.model_copy(update={"checkpoint_minutes": 1e-6})
    for recipe, resumed_step in ((often, 2), (SMALL, 0)):
        steps: list[int] = []

        def crash(done: int, _total: int, steps: list[int] = steps) -> None:
            steps.append(done)
            if steps.count(3) == 1 == len(steps) - 3:
                raise ZeroDivisionError

        with_seed = recipe.model_copy(update={"seed": resumed_step})
        with pytest.raises(ZeroDivisionError):
            train_small(store, recipe=with_seed, on_step=crash)
        run = train_small(store, recipe=with_seed, on_step=crash)
        assert steps[4] == resumed_step
        records = Run(store, "tiny", run.run).list_all_checkpoints()
        assert not any(record.batches for record in records)


def test_interim_checkpoint_interval_spans_epochs(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interval counts from the last checkpoint, not from the start of the epoch."""
    publish_test_pairs(store, "tttttt")
    clock = iter(range(0, 10_000, 60))
    monkeypatch.setattr("model.training.loop.time", SimpleNamespace(monotonic=lambda: next(clock)))
    # By this clock, each of the three steps of an epoch takes a minute.
    recipe = SMALL.model_copy(update={"epochs": 3, "checkpoint_every": 3, "checkpoint_minutes": 5})

    def crash(done: int, _total: int) -> None:
        if done == 8:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train_small(store, recipe=recipe, on_step=crash)
    (name,) = {key.split("/")[2] for key in store.list_keys("models")}
    (record,) = Run(store, "tiny", name).list_all_checkpoints()
    assert record.batches
    assert 3 < record.step < 8


def test_logs_are_flushed_within_an_epoch(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the epoch writes the same files as without flushing."""
    publish_test_pairs(store, "t" * 60 + "v")
    other = LocalStore(store.root / "other")
    publish_test_pairs(other, "t" * 60 + "v")
    train_small(other)
    monkeypatch.setattr("model.training.loop._FLUSH_INTERVAL_S", 0.0)
    flushed_steps: list[int] = []

    def crash(done: int, _total: int) -> None:
        if done == 43:
            raise ZeroDivisionError

    def follow(line: dict[str, float]) -> None:
        flushed_steps.append(int(line["step"]))

    with pytest.raises(ZeroDivisionError):
        train_small(store, on_step=crash, on_log=follow)
    assert flushed_steps[-1] == 40
    (name,) = {key.split("/")[2] for key in store.list_keys("models")}
    run = Run(store, "tiny", name)
    lines = [json.loads(line) for line in (run.get(METRICS_FILE) or b"").splitlines()]
    assert [line["step"] for line in lines if "lr" in line] == [10, 20, 30, 40]
    assert is_complete_file(run.get(events_name(2)) or b"")
    train_small(store)
    assert read_run_files(store) == read_run_files(other)


def test_unreachable_store_loses_no_step(
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
    callbacks = TrainingCallbacks(
        on_step=lambda done, _: steps.append(done), should_stop=lambda: True
    )
    with pytest.raises(TrainingStopped, match="no step was taken yet"):
        train(store, "tiny", "pairs", recipe, callbacks=callbacks)
    assert not steps
    strokes = store.list_keys("datasets/tiny/pairs/pairs/strokes-1")
    assert list(strokes), "the traced strokes are stored"
