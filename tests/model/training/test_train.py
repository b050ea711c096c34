import io
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from config.errors import CorruptObjectError, InputError, IntegrityError
from config.recipe import Recipe
from model.device import resolve_precision
from model.training.callbacks import TrainingCallbacks, TrainingStopped
from model.training.checkpoint import init_state, restore_state, serialize_state
from model.training.step import prepare_networks, train_step
from model.training.train import TrainedRun, train
from storage import LocalStore, ObjectStore
from storage.runs import Run
from tests.model.pairs import publish_test_pairs
from tests.model.training.test_samples import make_sketch
from tests.storage.contents import observe_calls

CPU = torch.device("cpu")
SMALL = Recipe(
    batch=2, epochs=3, image_size=64, generator_width=4, generator_blocks=1, discriminator_width=4
)

METRIC_NAMES = {
    "discriminator",
    "adversarial",
    "l1",
    "discriminator_gradient",
    "generator_gradient",
    "skipped",
}


@pytest.fixture(autouse=True)
def skip_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plotting takes longer than these runs; test_artifacts.py tests it."""
    monkeypatch.setattr(
        import_module("model.training.artifacts"),
        "render_loss_plot",
        lambda log, _: repr(log).encode(),
    )


def train_small(store: ObjectStore, **options: Any) -> TrainedRun:
    recipe = options.pop("recipe", SMALL)
    callbacks = {name: options.pop(name) for name in vars(TrainingCallbacks()) if name in options}
    return train(
        store, "tiny", "pairs", recipe, callbacks=TrainingCallbacks(**callbacks), **options
    )


def load_last_checkpoint(store: LocalStore, run: TrainedRun) -> dict[str, Any]:
    training_run = Run(store, "tiny", run.run)
    data = training_run.read_checkpoint(training_run.list_checkpoints()[-1])
    state: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True)
    return state


def assert_same(one: Any, two: Any) -> None:
    assert type(one) is type(two)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, list):
        for first, second in zip(one, two, strict=True):
            assert_same(first, second)
    else:
        assert one == two


def test_run_writes_all_files(store: LocalStore) -> None:
    publish_test_pairs(store, "tttttvv")
    steps: list[tuple[int, int]] = []
    trained = train_small(store, on_step=lambda *step: steps.append(step))
    assert (trained.epochs, trained.steps) == (3, 9)
    assert steps[0] == (0, 9)
    assert steps[-1] == (9, 9)
    run = Run(store, "tiny", trained.run)
    assert [record.epoch for record in run.list_checkpoints()] == [1, 2, 3]
    recipe = json.loads(run.get("recipe.json") or b"")
    assert recipe["recipe"] == resolve_precision(SMALL, CPU).model_dump()
    assert recipe["pairs"] == "pairs"
    versions = recipe["versions"]
    assert versions["torch"] == torch.__version__
    assert versions["opencv-python-headless"].startswith("5.")
    assert versions.keys() >= {"python", "numpy", "prefect", "scikit-image"}
    assert len((recipe["revision"] or "").rstrip("+")) in (0, 40)
    assert trained.metrics == run.list_checkpoints()[-1].metrics
    lines = [json.loads(line) for line in (run.get("metrics.jsonl") or b"").splitlines()]
    assert [line["epoch"] for line in lines if "val_l1" in line] == [1, 2, 3]
    assert all(np.isfinite(list(line.values())).all() for line in lines)
    for epoch in (1, 2, 3):
        assert run.get(f"events/events.out.tfevents.epoch-{epoch:04d}")
        with Image.open(store.location(run.key(f"samples/epoch-{epoch:04d}.jpg"))) as grid:
            assert grid.size == (6 * 68 + 4, 68 + 4)


def test_training_reduces_l1(store: LocalStore) -> None:
    publish_test_pairs(store, "tttttt")
    recipe = SMALL.model_copy(update={"epochs": 12, "lr": 2e-3})
    values: list[float] = []
    train_small(store, recipe=recipe, on_epoch=lambda _, metrics: values.append(metrics["l1"]))
    assert values[-1] < 0.7 * values[0]


def test_without_validation_pairs_there_is_no_val_l1(store: LocalStore) -> None:
    publish_test_pairs(store, "tt")
    assert set(train_small(store).metrics) == METRIC_NAMES


def test_equal_recipes_give_equal_weights(store: LocalStore, tmp_path: Any) -> None:
    other = LocalStore(tmp_path / "other")
    for target in (store, other):
        publish_test_pairs(target, "ttttv")
    assert_same(
        load_last_checkpoint(store, train_small(store)),
        load_last_checkpoint(other, train_small(other)),
    )


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_interrupted_run_ends_with_equal_weights(
    store: LocalStore, tmp_path: Any, stop_after: int
) -> None:
    other = LocalStore(tmp_path / "other")
    for target in (store, other):
        publish_test_pairs(target, "ttttv")
    uninterrupted = train_small(other)

    def stop(done: int, _total: int) -> None:
        if done == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_small(store, on_step=stop)
    resumed = train_small(store)
    assert resumed.run == uninterrupted.run
    assert_same(load_last_checkpoint(store, resumed), load_last_checkpoint(other, uninterrupted))
    metrics = "metrics.jsonl"
    assert Run(store, "tiny", resumed.run).get(metrics) == Run(
        other, "tiny", uninterrupted.run
    ).get(metrics)


def read_run_files(store: LocalStore) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.list_keys("models")}


@pytest.mark.parametrize("stops", [[1], [2], [3], [4, 5], [1, 1, 2, 5, 8]])
def test_stopped_run_is_resumed_from_the_same_step(
    store: LocalStore, tmp_path: Path, stops: list[int]
) -> None:
    """All files equal those of an uninterrupted run."""
    other = LocalStore(tmp_path / "other")
    for target in (store, other):
        publish_test_pairs(target, "tttttv")
    uninterrupted = train_small(other)
    for stop in stops:
        steps: list[int] = []
        with pytest.raises(TrainingStopped):
            train_small(
                store,
                on_step=lambda done, _, steps=steps: steps.append(done),
                should_stop=lambda stop=stop, steps=steps: steps[-1] >= stop,
            )
        assert Run(store, "tiny", uninterrupted.run).list_all_checkpoints()[-1].step == steps[-1]
    steps = []
    assert train_small(store, on_step=lambda done, _: steps.append(done)).run == uninterrupted.run
    assert steps[0] >= stops[-1], "a step was repeated"
    assert read_run_files(store) == read_run_files(other)


def test_stop_during_validation_repeats_no_step(store: LocalStore, tmp_path: Path) -> None:
    other = LocalStore(tmp_path / "other")
    for target in (store, other):
        publish_test_pairs(target, "ttttvvv")
    train_small(other)
    calls: list[int] = []

    def stop_at_second_picture() -> bool:
        calls.append(1)
        return len(calls) == 4  # after two steps, at the second picture

    with pytest.raises(TrainingStopped):
        train_small(store, should_stop=stop_at_second_picture)
    steps: list[int] = []
    train_small(store, on_step=lambda done, _: steps.append(done))
    assert steps == [2, 3, 4, 5, 6]
    assert read_run_files(store) == read_run_files(other)


@pytest.mark.parametrize("damage", [b"", b"damaged"])
@pytest.mark.parametrize("suffix", ["pt", "json"])
@pytest.mark.parametrize("epochs", [[3], [2, 3], [1, 2, 3]])
def test_damaged_checkpoints_are_trained_again(
    store: LocalStore, damage: bytes, suffix: str, epochs: list[int]
) -> None:
    publish_test_pairs(store, "ttttv")
    trained = train_small(store)
    files = read_run_files(store)
    for epoch in epochs:
        store.put(f"models/tiny/{trained.run}/checkpoints/epoch-{epoch:04d}.{suffix}", damage)
    steps: list[int] = []
    assert train_small(store, on_step=lambda done, _: steps.append(done)) == trained
    assert steps[0] == (epochs[0] - 1) * 2
    assert read_run_files(store) == files


def test_checkpoint_damaged_in_transit_is_read_again(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_test_pairs(store, "ttttv")
    trained = train_small(store)
    real, calls = Run.read_checkpoint, 0

    def fail_once(self: Run, record: Any) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise CorruptObjectError("damaged in transit")
        return real(self, record)

    monkeypatch.setattr(Run, "read_checkpoint", fail_once)
    steps: list[int] = []
    assert train_small(store, on_step=lambda done, _: steps.append(done)) == trained
    assert steps == [trained.steps]


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_missing_or_damaged_files_are_repaired(store: LocalStore, damage: str) -> None:
    publish_test_pairs(store, "ttttv")
    trained = train_small(store, sketches=[make_sketch()])
    files = read_run_files(store)
    for name in (
        "recipe.json",
        "metrics.jsonl",
        "losses.png",
        "samples/epoch-0003.jpg",
        "samples/sketches-0003.jpg",
        "events/events.out.tfevents.epoch-0003",
    ):
        key = f"models/tiny/{trained.run}/{name}"
        if damage == "missing":
            store.delete(key)
        else:
            # As after a full disk or a power failure.
            store.put(key, files[key][:-9] if damage == "truncated" else b"")
    assert train_small(store, sketches=[make_sketch()]) == trained
    assert read_run_files(store) == files


def test_metadata_keeps_the_initial_git_revision(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_test_pairs(store, "ttv")
    train_small(store)
    files = read_run_files(store)
    monkeypatch.setattr(
        import_module("model.training.resume"), "_get_git_revision", lambda: "another"
    )
    train_small(store)
    assert read_run_files(store) == files


@pytest.mark.parametrize("stop", [3, 5])
def test_log_is_complete_with_rare_checkpoints(
    store: LocalStore, tmp_path: Path, stop: int
) -> None:
    other = LocalStore(tmp_path / "other")
    for target in (store, other):
        publish_test_pairs(target, "ttttv")
    rare = SMALL.model_copy(update={"checkpoint_every": 2})
    uninterrupted = train_small(other, recipe=rare)
    assert [
        record.epoch for record in Run(other, "tiny", uninterrupted.run).list_checkpoints()
    ] == [2, 3]
    steps = [0]
    with pytest.raises(TrainingStopped):
        train_small(
            store,
            recipe=rare,
            on_step=lambda done, _: steps.append(done),
            should_stop=lambda: steps[-1] >= stop,
        )
    train_small(store, recipe=rare)
    assert read_run_files(store) == read_run_files(other)


def test_deleted_pair_set_is_an_error_before_the_first_step(store: LocalStore) -> None:
    publish_test_pairs(store, "ttv")

    def remove(call: str) -> None:
        if call == "put":
            store.delete("datasets/tiny/pairs/pairs/manifest.parquet")

    with pytest.raises(IntegrityError, match=r"was deleted by `icanvas gc`"):
        train(observe_calls(store, remove), "tiny", "pairs", SMALL)
    assert not [key for key in store.list_keys("models") if "checkpoints" in key]


def test_finished_run_is_not_trained_again(store: LocalStore) -> None:
    publish_test_pairs(store, "ttv")
    first = train_small(store)
    steps: list[int] = []
    assert train_small(store, on_step=lambda done, _: steps.append(done)) == first
    assert steps == [first.steps]


def test_force_trains_another_run(store: LocalStore) -> None:
    publish_test_pairs(store, "ttv")
    first = train_small(store)
    second = train_small(store, force=True)
    assert second.run != first.run
    assert_same(load_last_checkpoint(store, first), load_last_checkpoint(store, second))
    assert train_small(store) == second, "the latest run is used"
    changed = train_small(store, recipe=SMALL.model_copy(update={"seed": 1}))
    assert changed.run not in (first.run, second.run)


def test_state_is_restored_from_bytes(store: LocalStore) -> None:
    state = init_state(SMALL, CPU)
    networks, resolved = prepare_networks(state, False), resolve_precision(SMALL, CPU)
    train_step(state, networks, torch.rand(2, 1, 64, 64), torch.rand(2, 3, 64, 64), resolved)
    state.epoch = 1
    restored = restore_state(serialize_state(state, SMALL), SMALL, CPU)
    for name in ("generator", "discriminator", "generator_optimizer", "discriminator_optimizer"):
        assert_same(getattr(state, name).state_dict(), getattr(restored, name).state_dict())
    assert (restored.epoch, restored.step) == (1, 1)


def test_infinite_loss_stops_the_run(store: LocalStore) -> None:
    publish_test_pairs(store, "ttttv")
    # The losses overflow from the second step on.
    wild = SMALL.model_copy(update={"lr": 1.0, "lambda_l1": 1e30, "max_grad_norm": 0.0})
    for _ in range(2):
        with pytest.raises(InputError, match=r"stopped before its first checkpoint.*lower lr"):
            train_small(store, recipe=wild)
    (log,) = [key for key in store.list_keys("models") if key.endswith("metrics.jsonl")]
    assert json.loads(store.get(log))["step"] == 2, "the log shows the failed step"


def test_run_whose_steps_are_all_skipped_is_stopped(store: LocalStore) -> None:
    publish_test_pairs(store, "ttttv")
    with pytest.raises(InputError, match=r"every step of epoch 1 had an infinite or NaN gradient"):
        train_small(store, recipe=SMALL.model_copy(update={"lambda_l1": 1e39}))


def test_nan_metric_stops_the_run(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a last step that made the weights NaN: they are not saved."""
    publish_test_pairs(store, "ttttv")
    values = iter([0.5, float("nan")])
    monkeypatch.setattr(import_module("model.training.loop"), "validate", lambda *_: next(values))
    with pytest.raises(
        InputError, match=r"val_l1 is nan at step 4; .*last checkpoint saved.*lower lr"
    ):
        train_small(store)
    assert [
        record.split("/")[-1] for record in store.list_keys("models") if "checkp" in record
    ] == [
        "epoch-0001.json",
        "epoch-0001.pt",
    ]


def test_invalid_input_is_an_error(store: LocalStore) -> None:
    publish_test_pairs(store, "vv")
    with pytest.raises(InputError, match="no training pair"):
        train_small(store)
    for data in (
        b"",
        b"\x80\x04cos\nsystem\n",
        serialize_state(init_state(SMALL, CPU), SMALL)[:999],
    ):
        with pytest.raises(IntegrityError, match="Loading a checkpoint failed"):
            restore_state(data, SMALL, CPU)
    wider = SMALL.model_copy(update={"generator_width": 8})
    with pytest.raises(IntegrityError, match="Loading a checkpoint failed"):
        restore_state(serialize_state(init_state(SMALL, CPU), SMALL), wider, CPU)
