"""One step of training: the discriminator, then the generator, never both at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss
from torch.nn.utils import clip_grad_norm_

from config.recipe import Recipe
from model.training.checkpoint import TrainingState
from model.training.distributed import ALONE, Crew, Share
from model.training.image_pool import PicturePool
from model.training.losses import adversarial_loss, discriminator_loss, join_pair


@dataclass(frozen=True)
class Networks:
    """How the networks of a state are called: as they are, or compiled, alone or together.

    Attributes
    ----------
    generator, discriminator : to learn; they share their weights with the state's.
    judge : the discriminator, to be learned from.
    """

    generator: Callable[[Tensor], Tensor]
    discriminator: Callable[[Tensor], Tensor]
    judge: Callable[[Tensor], Tensor]


def call_networks(state: TrainingState, compiled: bool, crew: Crew = ALONE) -> Networks:
    """Return how a step calls a state's networks, in each process of a crew."""
    generator, discriminator = (
        # Not one graph for all batch sizes: which came first would decide what is computed.
        cast(nn.Module, torch.compile(network, dynamic=False)) if compiled else network
        for network in (state.generator, state.discriminator)
    )
    return Networks(crew.wrap(generator), crew.wrap(discriminator), discriminator)


def train_step(
    state: TrainingState,
    networks: Networks,
    condition: Tensor,
    target: Tensor,
    recipe: Recipe,
    share: Share | None = None,
) -> dict[str, float]:
    """Take one discriminator step and then one generator step.

    Each has its own backward pass; the picture is generated once. A network whose gradient is not
    finite keeps its weights in this step.

    Parameters
    ----------
    state : changed in place.
    networks : how its networks are called.
    condition : float32 (N, 1, S, S) in [0, 1].
    target : float32 (N, 3, S, S) in [-1, 1].
    recipe : with a settled precision.
    share : which part of a batch these pairs are, where several processes take the step together;
        all of it when left out.

    Returns
    -------
    dict
        Of the batch: ``discriminator``, ``adversarial`` and ``l1``, each unweighted;
        ``discriminator_gradient`` and ``generator_gradient``, norms before clipping; ``skipped``, 1
        where a network kept its weights.
    """
    share = share or ALONE.share(len(condition))
    low = torch.autocast(condition.device.type, torch.bfloat16, enabled=recipe.precision == "bf16")
    with low:
        fake = networks.generator(condition)
        real_scores = networks.discriminator(join_pair(target, condition))
        shown = _exchange(state.pool, join_pair(fake.detach(), condition), share)
        fake_scores = networks.discriminator(shown)
    d_loss = discriminator_loss(real_scores.float(), fake_scores.float())
    state.discriminator_optimiser.zero_grad(set_to_none=True)
    share.scale(d_loss).backward()  # type: ignore[no-untyped-call]
    d_norm = _move(state.discriminator, state.discriminator_optimiser, recipe.clip)

    # The generator's loss needs the discriminator's gradient in the picture, not in its weights.
    state.discriminator.requires_grad_(False)
    with low:
        scores = networks.judge(join_pair(fake, condition))
    adversarial, l1 = adversarial_loss(scores.float()), l1_loss(fake, target)
    state.generator_optimiser.zero_grad(set_to_none=True)
    share.scale(adversarial + recipe.lambda_l1 * l1).backward()  # type: ignore[no-untyped-call]
    g_norm = _move(state.generator, state.generator_optimiser, recipe.clip)
    state.discriminator.requires_grad_(True)

    state.step += 1
    if state.average is not None and math.isfinite(g_norm):
        state.average.update_parameters(state.generator)
    losses = torch.stack([d_loss.detach(), adversarial.detach(), l1.detach()])
    return {
        **dict(
            zip(("discriminator", "adversarial", "l1"), share.mean(losses).tolist(), strict=True)
        ),
        "discriminator_gradient": d_norm if math.isfinite(d_norm) else 0.0,
        "generator_gradient": g_norm if math.isfinite(g_norm) else 0.0,
        "skipped": float(not (math.isfinite(d_norm) and math.isfinite(g_norm))),
    }


def _exchange(pool: PicturePool, pairs: Tensor, share: Share) -> Tensor:
    """Exchange pairs with a pool that every process has whole, as if one had the whole batch."""
    return pool.exchange(share.gather(pairs))[share.places] if pool.size else pairs


def _move(network: nn.Module, optimiser: torch.optim.Optimizer, clip: float) -> float:
    """Step along a gradient that is finite, clipped to a norm (0: as it is); return its norm."""
    norm = clip_grad_norm_(network.parameters(), clip or math.inf).item()
    if math.isfinite(norm):
        optimiser.step()
    return norm


def set_lr(state: TrainingState, recipe: Recipe, steps: int) -> float:
    """Give both optimisers the learning rate of the next step, of so many in all, and return it.

    It is constant, and then falls in a line, to reach 0 after the last step.
    """
    falling = recipe.decay * steps
    left = steps - state.step
    lr = recipe.lr * (min(1.0, left / falling) if falling else 1.0)
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser):
        for group in optimiser.param_groups:
            group["lr"] = lr
    return lr
