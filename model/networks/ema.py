"""The generator's moving average, which draws steadier than the generator of any one step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from model.networks.generator import Generator


def average_of(generator: Generator, ema: float) -> AveragedModel:
    """Return what follows a generator: each update keeps ``ema`` of it.

    Less at first, so that the average soon forgets the weights that training began with.
    """

    def follow(averaged: Sequence[Any], current: Sequence[Any], updates: Any) -> None:
        done = int(updates)
        stays = min(ema, (1 + done) / (10 + done))
        torch._foreach_lerp_(list(averaged), list(current), 1 - stays)

    return AveragedModel(generator, multi_avg_fn=torch.no_grad()(follow)).requires_grad_(False)
