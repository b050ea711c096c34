"""Tests that need a GPU; run them with ``pytest -m gpu``."""

import json
from pathlib import Path

import pytest
import torch

from config.errors import InputError
from config.recipe import Precision, Recipe, Switch
from model.device import choose_device, list_missing_compile_tools, supports_bf16
from model.training.batch_size_finder import find_batch_size
from model.training.callbacks import TrainingStopped
from model.training.checkpoint import init_state
from model.training.launch import WorkerConfig, launch_distributed
from model.training.step import prepare_networks, train_step
from storage import LocalStore
from storage.runs import Run
from tests.model.pairs import publish_test_pairs
from tests.model.training.test_train import SMALL, train_small

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="no CUDA GPU, or not asked for: pytest -m gpu"
    ),
]

GPU = torch.device("cuda")
# Wide enough for the GPU's fast kernels, and with full f32 precision.
WIDER = SMALL.model_copy(
    update={"generator_width": 32, "discriminator_width": 32, "precision": "f32"}
)
LOSSES = ("discriminator", "adversarial", "l1")


def take_steps(
    recipe: Recipe, device: torch.device, compiled: bool = False
) -> list[dict[str, float]]:
    state = init_state(recipe, device)
    networks = prepare_networks(state, compiled)
    random = torch.Generator().manual_seed(0)
    condition = torch.rand(2, 1, 64, 64, generator=random).round().to(device)
    target = (torch.rand(2, 3, 64, 64, generator=random) * 2 - 1).to(device)
    return [train_step(state, networks, condition, target, recipe) for _ in range(3)]


def assert_close(one: list[dict[str, float]], two: list[dict[str, float]], rel: float) -> None:
    for first, second in zip(one, two, strict=True):
        assert first["skipped"] == second["skipped"] == 0
        for name in LOSSES:
            assert first[name] == pytest.approx(second[name], rel=rel), name


def test_f32_agrees_with_the_cpu() -> None:
    assert choose_device() == GPU
    assert_close(take_steps(WIDER, GPU), take_steps(WIDER, torch.device("cpu")), 0.01)


def test_bf16_agrees_with_f32() -> None:
    if not supports_bf16(GPU):
        pytest.skip("this GPU has no bf16")
    bf16 = WIDER.model_copy(update={"precision": "bf16"})
    f32_metrics, bf16_metrics = take_steps(WIDER, GPU), take_steps(bf16, GPU)
    assert_close(f32_metrics, bf16_metrics, 0.05)
    assert f32_metrics != bf16_metrics, "nothing was computed in bf16"


def test_compiled_networks_agree() -> None:
    if missing := list_missing_compile_tools(GPU):
        pytest.skip(f"no {' and no '.join(missing)}")
    assert_close(take_steps(WIDER, GPU, compiled=True), take_steps(WIDER, GPU), 0.01)


def read_log(store: LocalStore, run: str) -> list[dict[str, float]]:
    data = Run(store, "tiny", run).get("metrics.jsonl") or b""
    return [json.loads(line) for line in data.splitlines()]


def assert_same_log(one: LocalStore, other: LocalStore, run: str) -> None:
    """Compare losses; kernels with a varying order of additions change the last bits."""
    for first, second in zip(read_log(one, run), read_log(other, run), strict=True):
        assert first.keys() == second.keys()
        for name in ("epoch", "step", *LOSSES, "val_l1"):
            assert first.get(name, 0) == pytest.approx(second.get(name, 0), rel=0.02), name


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_stopped_run_is_resumed(store: LocalStore, tmp_path: Path, precision: Precision) -> None:
    recipe = WIDER.model_copy(update={"precision": precision, "image_pool_size": 3})
    other = LocalStore(tmp_path / "other")
    for target in (store, other):
        publish_test_pairs(target, "tttttv")
    uninterrupted = train_small(other, recipe=recipe)
    steps: list[int] = []
    with pytest.raises(TrainingStopped):
        train_small(
            store,
            recipe=recipe,
            on_step=lambda done, _: steps.append(done),
            should_stop=lambda: steps[-1] == 4,
        )
    train_small(store, recipe=recipe, on_step=lambda done, _: steps.append(done))
    assert steps == [*range(5), *range(4, 10)]
    assert_same_log(store, other, uninterrupted.run)


def test_out_of_memory_error_names_the_last_fitting_batch(store: LocalStore) -> None:
    """With a limit of 2 GiB; a pair takes more than half a GiB, the networks take little."""
    publish_test_pairs(store, "tttttv")
    large = WIDER.model_copy(
        update={"image_size": 256, "generator_width": 64, "discriminator_width": 64, "epochs": 1}
    )
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(GPU).total_memory
    torch.cuda.set_per_process_memory_fraction(2**31 / total)
    try:
        train_small(store, recipe=large.model_copy(update={"batch": 1}))
        with pytest.raises(InputError, match=r"batch=5 .*1 fitted last time .*--set batch=1"):
            train_small(store, recipe=large.model_copy(update={"batch": 5}))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_largest_batch_is_found() -> None:
    """With large pictures and networks, so that the batch stays small."""
    recipe = Recipe(generator_width=128, discriminator_width=64, precision="auto")
    largest, trials = find_batch_size(recipe)
    timed = [trial for trial in trials if trial.batch == largest]
    assert timed[0].seconds
    assert largest == 1024 or any(trial.seconds is None for trial in trials)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs")
@pytest.mark.parametrize("compile_", ["off", "on"])
def test_two_processes_train_like_one(store: LocalStore, tmp_path: Path, compile_: Switch) -> None:
    recipe = WIDER.model_copy(update={"image_pool_size": 3, "batch": 4, "compile": compile_})
    other = LocalStore(tmp_path / "other")
    for target in (store, other):
        publish_test_pairs(target, "tttttv")
    worker_config = WorkerConfig(
        store=store.url, dataset="tiny", pairs="pairs", recipe=recipe, force=False
    )
    distributed = launch_distributed(2, worker_config)
    single = train_small(other, recipe=recipe)
    assert (distributed.run, distributed.steps) == (single.run, single.steps)
    assert_same_log(store, other, single.run)
