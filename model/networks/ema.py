"""The generator's moving average, which draws steadier than the generator of any one step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from model.networks.generator import Generator


def make_ema(generator: Generator, max_decay: float) -> AveragedModel:
    """Return what follows a generator: each update keeps ``ema`` of it.

    Less at first, so that the average soon forgets the weights that training began with.
    """

    def update(averaged: Sequence[Any], current: Sequence[Any], num_averaged: Any) -> None:
        num_updates = int(num_averaged)
        decay = min(max_decay, (1 + num_updates) / (10 + num_updates))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    return AveragedModel(generator, multi_avg_fn=torch.no_grad()(update)).requires_grad_(False)
