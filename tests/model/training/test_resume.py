"""Resuming runs after kills, stops and failed uploads."""

import io
import json
import random
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch

from config.errors import ConflictError, IntegrityError, StorageError
from config.recipe import Recipe
from model.device import resolve_precision
from model.training.callbacks import TrainingStopped
from model.training.resume import compute_run_name, read_metadata
from model.training.train import train
from storage import LocalStore, ObjectStore, uploads
from storage.runs import Run
from tests.model.pairs import publish_test_pairs
from tests.model.training.test_train import SMALL, assert_same, read_run_files, train_small
from tests.storage.contents import observe_calls

PAIRS = "ttttttv"  # three steps per epoch

SCRIPT = """
    import sys
    from pathlib import Path
    from model.training.callbacks import TrainingCallbacks
    from config.recipe import Recipe
    from model.training.train import train
    from storage import LocalStore

    class Store(LocalStore):
        max_uploads = int(sys.argv[3])

        def put_file(self, key, file):
            if not self.max_uploads:
                raise OSError("full")
            self.max_uploads -= 1
            super().put_file(key, file)

    recipe = Recipe.model_validate_json(sys.argv[2])
    callbacks = TrainingCallbacks(on_step=lambda done, total: print(done, flush=True))
    train(Store(Path(sys.argv[1])), "tiny", "pairs", recipe, callbacks=callbacks)
"""


@pytest.fixture
def uninterrupted(store: LocalStore, tmp_path: Path) -> dict[str, bytes]:
    other = LocalStore(tmp_path / "uninterrupted")
    for target in (store, other):
        publish_test_pairs(target, PAIRS)
    train_small(other)
    return read_run_files(other)


def intercept_uploads(store: ObjectStore, on_upload: Callable[[], object]) -> ObjectStore:
    def on_call(call: str) -> None:
        if call == "put_file":
            on_upload()

    return observe_calls(store, on_call)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))]
)
def test_killed_run_is_resumed_and_writes_equal_files(
    store: LocalStore, uninterrupted: dict[str, bytes], seed: int
) -> None:
    """`kill -9` of a real process; some of its files are uploaded, others are not."""
    rng = random.Random(seed)
    step, max_uploads = rng.randrange(4, 9), rng.randrange(8)
    root = Path(store.location("x")).parent
    arguments = [str(root), SMALL.model_dump_json(), str(max_uploads)]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == step:
            process.kill()
    assert process.wait() == -9
    assert len(read_run_files(store)) <= 1 + max_uploads
    steps: list[int] = []
    train_small(store, on_step=lambda done, _: steps.append(done))
    assert steps[0] > 0, "the run was not resumed"
    assert read_run_files(store) == uninterrupted


def test_steps_do_not_wait_for_uploads(store: LocalStore, uninterrupted: dict[str, bytes]) -> None:
    done = threading.Event()
    waited: list[bool] = []

    def count(step: int, total: int) -> None:
        if step == total:
            done.set()

    hanging = intercept_uploads(store, lambda: waited.append(done.wait(120)))
    train_small(hanging, on_step=count)
    assert waited
    assert all(waited), "training waited for an upload"
    assert read_run_files(store) == uninterrupted


def test_stop_waits_for_uploads_during_the_grace_period(
    store: LocalStore, uninterrupted: dict[str, bytes]
) -> None:
    messages: list[str] = []
    steps: list[int] = []
    released = threading.Event()
    with pytest.raises(TrainingStopped):
        train_small(
            intercept_uploads(store, lambda: released.wait(120)),
            recipe=SMALL.model_copy(update={"shutdown_grace_s": 0.1}),
            on_step=lambda step, _: steps.append(step),
            should_stop=lambda: steps[-1] == 5,
            on_upload_error=messages.append,
        )
    assert "Nothing is lost" in messages[-1]
    released.set()
    steps.clear()
    train_small(store, on_step=lambda step, _: steps.append(step))
    assert steps[0] == 5
    ended = read_run_files(store)
    assert ended.keys() == uninterrupted.keys()
    for key, data in ended.items():
        assert_same(*(parse_without_recipe(key, content) for content in (data, uninterrupted[key])))


def parse_without_recipe(key: str, data: bytes) -> object:
    """Return a file's content without the recipe, which holds the initial grace period.

    Also without the SHA-256, which depends on the recipe.
    """
    if key.endswith(".pt"):
        content: dict[str, object] = torch.load(io.BytesIO(data), weights_only=True)
    elif key.endswith(".json"):
        content = json.loads(data)
    else:
        return data
    return {name: value for name, value in content.items() if name not in ("recipe", "sha256")}


def test_failed_uploads_are_an_error_and_retried_by_the_next_run(
    store: LocalStore, uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise StorageError("full.")

    monkeypatch.setattr(uploads, "_IDLE_TIMEOUT_S", 0.3)
    with pytest.raises(StorageError, match=r"`icanvas train tiny` on this machine uploads them"):
        train(intercept_uploads(store, refuse), "tiny", "pairs", SMALL)
    monkeypatch.undo()
    steps: list[int] = []
    train_small(store, on_step=lambda step, _: steps.append(step))
    assert steps == [9], "a step was repeated"
    assert read_run_files(store) == uninterrupted


def test_run_cannot_be_trained_twice_at_a_time(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_test_pairs(store, "ttv")
    monkeypatch.setattr(uploads, "_LOCK_TIMEOUT_S", 0.1)
    errors: list[str] = []

    def train_too(_step: int, _total: int) -> None:
        if not errors:
            with pytest.raises(ConflictError) as error:
                train_small(store)
            errors.append(str(error.value))

    train_small(store, on_step=train_too)
    assert "is in training on this machine" in errors[0]


def test_last_and_best_checkpoints_and_all_samples_are_retained(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_test_pairs(store, "ttv")
    val_l1 = iter([0.4, 0.1, 0.5, 0.3, 0.2])
    monkeypatch.setattr(import_module("model.training.loop"), "validate", lambda *_: next(val_l1))
    recipe = SMALL.model_copy(update={"epochs": 5, "keep_last": 2})
    assert compute_run_name("pairs", recipe) == compute_run_name(
        "pairs", recipe.model_copy(update={"keep_last": 3, "keep_best": 0, "shutdown_grace_s": 1})
    )
    trained = train_small(store, recipe=recipe)
    run = Run(store, "tiny", trained.run)
    assert [record.epoch for record in run.list_checkpoints()] == [2, 4, 5]
    assert len(list(store.list_keys(run.key("samples")))) == 5


@pytest.mark.slow
def test_run_is_resumed_with_more_loader_processes(
    store: LocalStore, uninterrupted: dict[str, bytes]
) -> None:
    steps: list[int] = []
    with pytest.raises(TrainingStopped):
        train_small(
            store,
            num_workers=1,
            on_step=lambda step, _: steps.append(step),
            should_stop=lambda: steps[-1] == 4,
        )
    train_small(store, num_workers=2)
    assert read_run_files(store) == uninterrupted


def test_run_names_equal_those_of_earlier_versions() -> None:
    """The expected names were computed before fields of the recipe were renamed."""
    changed = Recipe(
        batch=2,
        epochs=3,
        lr_decay_fraction=0.25,
        max_grad_norm=1.0,
        image_pool_size=50,
        hflip=False,
        shutdown_grace_s=5.0,
        precision="f32",
        seed=7,
    )
    names = [compute_run_name("0123456789ab", recipe) for recipe in (Recipe(), changed)]
    assert names == ["bc34098f3d47", "76968ac47661"]
    assert compute_run_name("0123456789ab", changed, revision=2) == "dc302cd1003c"


def test_run_of_an_earlier_version_is_resumed(
    store: LocalStore, uninterrupted: dict[str, bytes]
) -> None:
    """Its recipe.json and its checkpoint hold the old names of the recipe's fields."""
    old_names = {
        "lr_decay_fraction": "decay",
        "max_grad_norm": "clip",
        "image_pool_size": "pool",
        "hflip": "mirror",
        "shutdown_grace_s": "grace",
    }

    def to_old_names(recipe: dict[str, object]) -> dict[str, object]:
        return {old_names.get(name, name): value for name, value in recipe.items()}

    steps: list[int] = []
    with pytest.raises(TrainingStopped):
        train_small(
            store,
            on_step=lambda step, _: steps.append(step),
            should_stop=lambda: steps[-1] == 4,
        )
    (name,) = {key.split("/")[2] for key in store.list_keys("models")}
    run = Run(store, "tiny", name)
    metadata = json.loads(run.get("recipe.json") or b"")
    metadata["recipe"] = to_old_names(metadata["recipe"])
    run.put("recipe.json", json.dumps(metadata, indent=2).encode())
    record = run.list_all_checkpoints()[-1]
    state = torch.load(io.BytesIO(run.read_checkpoint(record)), weights_only=True)
    state["recipe"] = to_old_names(state["recipe"])
    buffer = io.BytesIO()
    torch.save(state, buffer)
    run.save_checkpoint(record.epoch, record.step, buffer.getvalue(), {}, record.batches)

    assert read_metadata(store, run).recipe == resolve_precision(SMALL, torch.device("cpu"))
    steps.clear()
    assert train_small(store, on_step=lambda step, _: steps.append(step)).run == name
    assert steps[0] == 4
    assert json.loads(run.get("recipe.json") or b"") == metadata, "the metadata is not rewritten"
    ended = read_run_files(store)
    for key in uninterrupted:
        assert key.endswith("recipe.json") or ended[key] == uninterrupted[key], key


def test_retention_fields_of_metadata_are_updated(store: LocalStore) -> None:
    """`icanvas gc` reads them."""
    publish_test_pairs(store, "ttv")
    first = train_small(store)
    initial = json.loads(Run(store, "tiny", first.run).get("recipe.json") or b"")
    again = train_small(
        store, recipe=SMALL.model_copy(update={"keep_last": 20, "shutdown_grace_s": 5})
    )
    assert again.run == first.run
    metadata = json.loads(Run(store, "tiny", again.run).get("recipe.json") or b"")
    assert metadata == {**initial, "recipe": {**initial["recipe"], "keep_last": 20}}


def test_checkpoint_of_another_version_is_an_error_with_advice(store: LocalStore) -> None:
    publish_test_pairs(store, "tttv")
    run = Run(
        store, "tiny", compute_run_name("pairs", resolve_precision(SMALL, torch.device("cpu")))
    )
    run.save_checkpoint(1, 2, b"of another version", {})
    message = rf"{run.location('checkpoints')}: Loading a checkpoint failed.*seed=1"
    with pytest.raises(IntegrityError, match=message):
        train_small(store)
    assert run.list_checkpoints(), "the checkpoint is not deleted"
