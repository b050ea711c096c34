"""One training step: an update of the discriminator, then one of the generator."""

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
from model.training.losses import (
    adversarial_loss,
    discriminator_loss,
    generator_loss,
    join_pair,
)


@dataclass(frozen=True)
class Networks:
    """The networks as a step calls them: compiled and wrapped where the run needs it.

    Attributes
    ----------
    generator : callable
        Maps conditions to pictures; shares its weights with the state's generator.
    discriminator : callable
        Scores pairs, for the discriminator's update; shares its weights with the state's.
    unwrapped_discriminator : callable
        The discriminator without DistributedDataParallel, for the generator's update.
    """

    generator: Callable[[Tensor], Tensor]
    discriminator: Callable[[Tensor], Tensor]
    unwrapped_discriminator: Callable[[Tensor], Tensor]


def prepare_networks(
    state: TrainingState, compile_networks: bool, context: DistributedContext = SINGLE_PROCESS
) -> Networks:
    """Compile the networks of a state if requested, and wrap them for distributed training.

    Parameters
    ----------
    state : TrainingState
        Holds the networks.
    compile_networks : bool
        Whether to compile them.
    context : DistributedContext, optional
        The processes that train together.

    Returns
    -------
    Networks
    """
    generator, discriminator = (
        # One graph per batch size: with dynamic shapes, the result depends on the first size.
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
    """Update the discriminator, then the generator.

    The picture is generated once; each update has its own backward pass. A network whose gradient
    is not finite is not updated.

    Parameters
    ----------
    state : TrainingState
        Updated in place.
    networks : Networks
        The networks of the state.
    condition : Tensor
        float32 (N, 1, S, S) in [0, 1], 0 on lines.
    target : Tensor
        float32 (N, 3, S, S) in [-1, 1].
    recipe : Recipe
        With a resolved precision.
    shard : BatchShard, optional
        Which part of the batch the pairs are, if several processes share it; by default all of it.

    Returns
    -------
    dict of str to float
        Means over the batch: the unweighted losses ``discriminator``, ``adversarial`` and ``l1``,
        the gradient norms before clipping ``discriminator_gradient`` and ``generator_gradient``,
        and ``skipped``, 1 if a network was not updated, else 0.
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

    # Only the gradient with respect to the picture is needed, not to the discriminator's weights.
    state.discriminator.requires_grad_(False)
    with autocast:
        scores = networks.unwrapped_discriminator(join_pair(fake, condition))
    adversarial, l1 = adversarial_loss(scores.float()), l1_loss(fake, target)
    state.generator_optimizer.zero_grad(set_to_none=True)
    g_loss = generator_loss(adversarial, l1, recipe.lambda_l1)
    shard.scale_loss(g_loss).backward()  # type: ignore[no-untyped-call]
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
    """Query the pool with the pairs of the whole batch, and return those of this process's shard.

    Every process holds the whole pool, in the same state.
    """
    return pool.query(shard.gather(pairs))[shard.indices] if pool.size else pairs


def optimizer_step(network: nn.Module, optimizer: torch.optim.Optimizer, max_norm: float) -> float:
    """Clip the gradient and step, unless the gradient is not finite.

    Parameters
    ----------
    network : Module
        With gradients.
    optimizer : Optimizer
        Of its parameters.
    max_norm : float
        Norm to clip the gradient to; 0 disables clipping.

    Returns
    -------
    float
        Norm of the gradient before clipping.
    """
    norm = clip_grad_norm_(network.parameters(), max_norm or math.inf).item()
    if math.isfinite(norm):
        optimizer.step()
    return norm


def set_lr(state: TrainingState, recipe: Recipe, total_steps: int) -> float:
    """Set the learning rate of the next step in both optimizers.

    It is constant, then decays linearly, to reach 0 after the last step.

    Parameters
    ----------
    state : TrainingState
        Holds the optimizers and the number of steps done.
    recipe : Recipe
        Its ``lr`` and ``lr_decay_fraction``.
    total_steps : int
        Of the whole run.

    Returns
    -------
    float
        The learning rate.
    """
    decay_steps = recipe.lr_decay_fraction * total_steps
    remaining_steps = total_steps - state.step
    lr = recipe.lr * (min(1.0, remaining_steps / decay_steps) if decay_steps else 1.0)
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        for group in optimizer.param_groups:
            group["lr"] = lr
    return lr
