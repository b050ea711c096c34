"""A training step: updates, clipping, learning rate, precision."""

from typing import Any

import pytest
import torch

from config.recipe import Recipe
from model.training.checkpoint import init_state
from model.training.step import prepare_networks, set_lr, train_step
from tests.model.training.test_train import CPU, METRIC_NAMES, SMALL

FIXED = SMALL.model_copy(update={"precision": "f32"})


def test_networks_are_updated_one_at_a_time() -> None:
    state = init_state(FIXED, CPU)
    condition, target = torch.rand(2, 1, 64, 64), torch.rand(2, 3, 64, 64) * 2 - 1
    order: list[str] = []
    for name in ("generator", "discriminator"):
        optimizer = getattr(state, f"{name}_optimizer")
        other = state.discriminator if name == "generator" else state.generator
        step = optimizer.step

        def checked_step(name: str = name, step: Any = step, other: Any = other) -> None:
            old_weights = [p.clone() for p in other.parameters()]
            step()
            order.append(name)
            for old, parameter in zip(old_weights, other.parameters(), strict=True):
                assert torch.equal(old, parameter), f"{name}'s step changed the other network"

        optimizer.step = checked_step
    metrics = train_step(state, prepare_networks(state, False), condition, target, FIXED)
    assert order == ["discriminator", "generator"]
    assert set(metrics) == METRIC_NAMES
    assert all(p.requires_grad for p in state.discriminator.parameters())


def test_step_with_infinite_gradient_is_skipped_and_counted() -> None:
    state = init_state(FIXED, CPU)
    old_weights = [p.clone() for p in state.generator.parameters()]
    other = [p.clone() for p in state.discriminator.parameters()]
    wild = FIXED.model_copy(update={"lambda_l1": 1e39})
    batch = torch.rand(2, 1, 64, 64), torch.rand(2, 3, 64, 64)
    metrics = train_step(state, prepare_networks(state, False), *batch, wild)
    assert metrics["skipped"] == 1
    assert all(map(torch.equal, old_weights, state.generator.parameters()))
    assert state.ema is not None
    assert not int(state.ema.n_averaged)
    assert not any(map(torch.equal, other, state.discriminator.parameters()))
    assert train_step(state, prepare_networks(state, False), *batch, FIXED)["skipped"] == 0


def test_gradients_are_clipped_and_norms_returned() -> None:
    batch = torch.rand(2, 1, 64, 64), torch.rand(2, 3, 64, 64)
    norms = []
    for max_norm in (0.0, 1e-3):
        torch.manual_seed(1)
        state = init_state(FIXED, CPU)
        recipe = FIXED.model_copy(update={"max_grad_norm": max_norm})
        norms.append(train_step(state, prepare_networks(state, False), *batch, recipe))
        grads = [p.grad.norm() for p in state.generator.parameters() if p.grad is not None]
        clipped = torch.stack(grads).norm().item()
        norm = norms[-1]["generator_gradient"]
        assert clipped == pytest.approx(max_norm or norm, rel=1e-3)
    both = [metrics["generator_gradient"] for metrics in norms]
    assert both[0] == pytest.approx(both[1], rel=1e-3)
    assert both[0] > 1e-2


def test_learning_rate_is_constant_then_decays_linearly() -> None:
    state = init_state(FIXED, CPU)
    rates = []
    for state.step in range(10):
        rates.append(
            set_lr(state, FIXED.model_copy(update={"lr": 1.0, "lr_decay_fraction": 0.4}), 10)
        )
        for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
            assert optimizer.param_groups[0]["lr"] == rates[-1]
    assert rates == pytest.approx([1] * 7 + [0.75, 0.5, 0.25])
    assert set_lr(state, FIXED.model_copy(update={"lr_decay_fraction": 0.0}), 10) == FIXED.lr


def test_ema_follows_the_generator() -> None:
    state = init_state(FIXED.model_copy(update={"ema": 0.5}), CPU)
    assert state.ema is not None
    assert state.eval_generator is state.ema.module
    weights = [next(net.parameters()) for net in (state.generator, state.eval_generator)]
    expected = weights[0].detach().clone()
    for update in range(5):
        with torch.no_grad():
            weights[0].add_(1.0)
        state.ema.update_parameters(state.generator)
        # The first update copies the generator.
        decay = min(0.5, (1 + update) / (10 + update)) if update else 0
        expected = decay * expected + (1 - decay) * weights[0]
        assert torch.allclose(weights[1], expected)
    alone = init_state(FIXED.model_copy(update={"ema": 0.0}), CPU)
    assert alone.eval_generator is alone.generator


def take_steps(recipe: Recipe, compiled: bool = False, count: int = 3) -> list[dict[str, float]]:
    state = init_state(recipe, CPU)
    networks = prepare_networks(state, compiled)
    random = torch.Generator().manual_seed(0)
    condition = torch.rand(2, 1, 64, 64, generator=random).round()
    target = torch.rand(2, 3, 64, 64, generator=random) * 2 - 1
    return [train_step(state, networks, condition, target, recipe) for _ in range(count)]


def test_bf16_agrees_with_f32() -> None:
    """Also on CPUs that emulate bf16."""
    exact = take_steps(FIXED)
    quick = take_steps(FIXED.model_copy(update={"precision": "bf16"}))
    for one, two in zip(exact, quick, strict=True):
        for name in ("discriminator", "adversarial", "l1"):
            assert one[name] == pytest.approx(two[name], rel=0.02)
            assert one[name] != two[name], "nothing was computed in bf16"
        assert two["skipped"] == 0


def test_norms_and_output_layers_are_f32_under_bf16() -> None:
    state = init_state(FIXED, CPU)
    dtypes: dict[str, torch.dtype] = {}

    def record_dtype(name: str) -> Any:
        return lambda _module, inputs, output: dtypes.update({name: output.dtype})

    layers = state.generator.layers
    layers[1].register_forward_hook(record_dtype("convolution"))
    layers[-2].register_forward_hook(record_dtype("last convolution"))
    with torch.autocast("cpu", torch.bfloat16):
        picture = state.generator(torch.rand(1, 1, 64, 64))
    assert picture.dtype == torch.float32
    assert dtypes == {"convolution": torch.bfloat16, "last convolution": torch.float32}
    # With a mean at which bf16 cannot represent the differences.
    flat = (torch.rand(1, FIXED.generator_width, 16, 16) * 0.01 + 100).bfloat16()
    normalized = layers[2](flat)
    assert normalized.dtype == torch.bfloat16
    expected = torch.nn.functional.instance_norm(flat.float(), eps=1e-3)
    assert torch.allclose(normalized.float(), expected, atol=0.02)
