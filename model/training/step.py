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
from model.training.distributed import SINGLE_PROCESS, BatchShard, DistributedContext
from model.training.image_pool import ImagePool
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
    unwrapped_discriminator: Callable[[Tensor], Tensor]


def prepare_networks(
    state: TrainingState, compile_networks: bool, context: DistributedContext = SINGLE_PROCESS
) -> Networks:
    """Return how a step calls a state's networks, in each process of a crew."""
    generator, discriminator = (
        # Not one graph for all batch sizes: which came first would decide what is computed.
        cast(nn.Module, torch.compile(network, dynamic=False)) if compile_networks else network
        for network in (state.generator, state.discriminator)
    )
    return Networks(context.wrap_ddp(generator), context.wrap_ddp(discriminator), discriminator)


def train_step(
    state: TrainingState,
    networks: Networks,
    condition: Tensor,
    target: Tensor,
    recipe: Recipe,
    shard: BatchShard | None = None,
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
    shard = shard or SINGLE_PROCESS.shard_batch(len(condition))
    autocast = torch.autocast(
        condition.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"
    )
    with autocast:
        fake = networks.generator(condition)
        real_scores = networks.discriminator(join_pair(target, condition))
        pooled_pairs = query_pool(state.image_pool, join_pair(fake.detach(), condition), shard)
        fake_scores = networks.discriminator(pooled_pairs)
    d_loss = discriminator_loss(real_scores.float(), fake_scores.float())
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    shard.scale_loss(d_loss).backward()  # type: ignore[no-untyped-call]
    d_norm = optimizer_step(
        state.discriminator, state.discriminator_optimizer, recipe.max_grad_norm
    )

    # The generator's loss needs the discriminator's gradient in the picture, not in its weights.
    state.discriminator.requires_grad_(False)
    with autocast:
        scores = networks.unwrapped_discriminator(join_pair(fake, condition))
    adversarial, l1 = adversarial_loss(scores.float()), l1_loss(fake, target)
    state.generator_optimizer.zero_grad(set_to_none=True)
    shard.scale_loss(adversarial + recipe.lambda_l1 * l1).backward()  # type: ignore[no-untyped-call]
    g_norm = optimizer_step(state.generator, state.generator_optimizer, recipe.max_grad_norm)
    state.discriminator.requires_grad_(True)

    state.step += 1
    if state.ema is not None and math.isfinite(g_norm):
        state.ema.update_parameters(state.generator)
    losses = torch.stack([d_loss.detach(), adversarial.detach(), l1.detach()])
    return {
        **dict(
            zip(
                ("discriminator", "adversarial", "l1"),
                shard.all_reduce_mean(losses).tolist(),
                strict=True,
            )
        ),
        "discriminator_gradient": d_norm if math.isfinite(d_norm) else 0.0,
        "generator_gradient": g_norm if math.isfinite(g_norm) else 0.0,
        "skipped": float(not (math.isfinite(d_norm) and math.isfinite(g_norm))),
    }


def query_pool(pool: ImagePool, pairs: Tensor, shard: BatchShard) -> Tensor:
    """Exchange pairs with a pool that every process has whole, as if one had the whole batch."""
    return pool.query(shard.gather(pairs))[shard.indices] if pool.size else pairs


def optimizer_step(network: nn.Module, optimizer: torch.optim.Optimizer, max_norm: float) -> float:
    """Step along a gradient that is finite, clipped to a norm (0: as it is); return its norm."""
    norm = clip_grad_norm_(network.parameters(), max_norm or math.inf).item()
    if math.isfinite(norm):
        optimizer.step()
    return norm


def set_lr(state: TrainingState, recipe: Recipe, total_steps: int) -> float:
    """Give both optimisers the learning rate of the next step, of so many in all, and return it.

    It is constant, and then falls in a line, to reach 0 after the last step.
    """
    decay_steps = recipe.lr_decay_fraction * total_steps
    remaining_steps = total_steps - state.step
    lr = recipe.lr * (min(1.0, remaining_steps / decay_steps) if decay_steps else 1.0)
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        for group in optimizer.param_groups:
            group["lr"] = lr
    return lr
