"""One step: who moves, how far, and how exactly."""

from typing import Any

import pytest
import torch

from config.recipe import Recipe
from model.training.checkpoint import init_state
from model.training.step import prepare_networks, set_lr, train_step
from tests.model.training.test_train import CPU, METRIC_NAMES, SMALL

FIXED = SMALL.model_copy(update={"precision": "f32"})


def test_one_network_moves_at_a_time() -> None:
    state = init_state(FIXED, CPU)
    condition, target = torch.rand(2, 1, 64, 64), torch.rand(2, 3, 64, 64) * 2 - 1
    order: list[str] = []
    for name in ("generator", "discriminator"):
        optimizer = getattr(state, f"{name}_optimizer")
        other = state.discriminator if name == "generator" else state.generator
        step = optimizer.step

        def noted(name: str = name, step: Any = step, other: Any = other) -> None:
            before = [p.clone() for p in other.parameters()]
            step()
            order.append(name)
            for kept, parameter in zip(before, other.parameters(), strict=True):
                assert torch.equal(kept, parameter), f"{name}'s step moved the other network"

        optimizer.step = noted
    figures = train_step(state, prepare_networks(state, False), condition, target, FIXED)
    assert order == ["discriminator", "generator"]
    assert set(figures) == METRIC_NAMES
    assert all(p.requires_grad for p in state.discriminator.parameters())


def test_a_step_whose_gradient_is_not_finite_is_skipped_and_counted() -> None:
    state = init_state(FIXED, CPU)
    before = [p.clone() for p in state.generator.parameters()]
    other = [p.clone() for p in state.discriminator.parameters()]
    wild = FIXED.model_copy(update={"lambda_l1": 1e39})
    batch = torch.rand(2, 1, 64, 64), torch.rand(2, 3, 64, 64)
    figures = train_step(state, prepare_networks(state, False), *batch, wild)
    assert figures["skipped"] == 1
    assert all(map(torch.equal, before, state.generator.parameters()))
    assert state.ema is not None
    assert not int(state.ema.n_averaged)
    assert not any(map(torch.equal, other, state.discriminator.parameters()))
    assert train_step(state, prepare_networks(state, False), *batch, FIXED)["skipped"] == 0


def test_gradients_are_clipped_and_their_norm_told() -> None:
    batch = torch.rand(2, 1, 64, 64), torch.rand(2, 3, 64, 64)
    norms = []
    for max_norm in (0.0, 1e-3):
        torch.manual_seed(1)
        state = init_state(FIXED, CPU)
        recipe = FIXED.model_copy(update={"max_grad_norm": max_norm})
        norms.append(train_step(state, prepare_networks(state, False), *batch, recipe))
        grads = [p.grad.norm() for p in state.generator.parameters() if p.grad is not None]
        left = torch.stack(grads).norm().item()
        told = norms[-1]["generator_gradient"]
        assert left == pytest.approx(max_norm or told, rel=1e-3)
    both = [figures["generator_gradient"] for figures in norms]
    assert both[0] == pytest.approx(both[1], rel=1e-3)
    assert both[0] > 1e-2


def test_the_learning_rate_is_constant_and_then_falls_to_nothing() -> None:
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


def test_the_average_follows_the_generator() -> None:
    state = init_state(FIXED.model_copy(update={"ema": 0.5}), CPU)
    assert state.ema is not None
    assert state.eval_generator is state.ema.module
    weights = [next(net.parameters()) for net in (state.generator, state.eval_generator)]
    expected = weights[0].detach().clone()
    for update in range(5):
        with torch.no_grad():
            weights[0].add_(1.0)
        state.ema.update_parameters(state.generator)
        # The first update takes the generator as it is.
        stays = min(0.5, (1 + update) / (10 + update)) if update else 0
        expected = stays * expected + (1 - stays) * weights[0]
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
    """Also where the processor only imitates it."""
    exact = take_steps(FIXED)
    quick = take_steps(FIXED.model_copy(update={"precision": "bf16"}))
    for one, two in zip(exact, quick, strict=True):
        for name in ("discriminator", "adversarial", "l1"):
            assert one[name] == pytest.approx(two[name], rel=0.02)
            assert one[name] != two[name], "nothing was computed in bf16"
        assert two["skipped"] == 0


def test_norms_colours_and_losses_stay_f32_under_bf16() -> None:
    state = init_state(FIXED, CPU)
    seen: dict[str, torch.dtype] = {}

    def note(name: str) -> Any:
        return lambda _module, inputs, output: seen.update({name: output.dtype})

    layers = state.generator.layers
    layers[1].register_forward_hook(note("convolution"))
    layers[-2].register_forward_hook(note("last convolution"))
    with torch.autocast("cpu", torch.bfloat16):
        picture = state.generator(torch.rand(1, 1, 64, 64))
    assert picture.dtype == torch.float32
    assert seen == {"convolution": torch.bfloat16, "last convolution": torch.float32}
    # A mean that bf16 cannot hold apart from its neighbours.
    flat = (torch.rand(1, FIXED.generator_width, 16, 16) * 0.01 + 100).bfloat16()
    found = layers[2](flat)
    assert found.dtype == torch.bfloat16
    expected = torch.nn.functional.instance_norm(flat.float(), eps=1e-3)
    assert torch.allclose(found.float(), expected, atol=0.02)
