"""Least-squares GAN losses (Mao et al., 2017) with pix2pix's L1 term."""

import torch
from torch import Tensor


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return 0.5 · (E[(D(real) - 1)²] + E[D(fake)²]), a scalar, from patch scores of any shape."""
    return 0.5 * (torch.mean((real - 1) ** 2) + torch.mean(fake**2))


def adversarial_loss(fake: Tensor) -> Tensor:
    """Return E[(D(fake) - 1)²], a scalar, from patch scores of any shape."""
    return torch.mean((fake - 1) ** 2)


def join_pair(picture: Tensor, condition: Tensor) -> Tensor:
    """Return the discriminator's input.

    Parameters
    ----------
    picture : float (N, 3, H, W) in [-1, 1].
    condition : float (N, 1, H, W) in [0, 1], brought to [-1, 1] here.

    Returns
    -------
    Tensor
        float (N, 4, H, W) in [-1, 1].
    """
    return torch.cat([picture, condition * 2 - 1], dim=1)
