"""The exponential moving average (EMA) of the generator's weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from model.networks.generator import Generator


def make_ema(generator: Generator, max_decay: float) -> AveragedModel:
    """Return an exponential moving average of a generator's weights.

    The decay of update number n, from 0, is min(max_decay, (1 + n) / (10 + n)), so that the initial
    weights lose influence quickly. The first update copies the generator.

    Parameters
    ----------
    generator : Generator
        Whose weights are averaged; it is copied.
    max_decay : float
        Share of the average that stays at each update, in [0, 1).

    Returns
    -------
    AveragedModel
        Call ``update_parameters(generator)`` after each step. Needs no gradients.
    """

    def update(averaged: Sequence[Any], current: Sequence[Any], num_averaged: Any) -> None:
        num_updates = int(num_averaged)
        decay = min(max_decay, (1 + num_updates) / (10 + num_updates))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    return AveragedModel(generator, multi_avg_fn=torch.no_grad()(update)).requires_grad_(False)
