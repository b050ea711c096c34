"""Least-squares GAN losses (Mao et al., 2017) with the discriminator input of pix2pix."""

import torch
from torch import Tensor


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's loss, 0.5 · (E[(D(real) - 1)²] + E[D(fake)²]).

    Parameters
    ----------
    real : Tensor
        Scores of real pairs, of any shape.
    fake : Tensor
        Scores of generated pairs, of any shape.

    Returns
    -------
    Tensor
        A scalar, at least 0.

    Examples
    --------
    >>> import torch
    >>> discriminator_loss(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0])).item()
    0.25
    """
    return 0.5 * (torch.mean((real - 1) ** 2) + torch.mean(fake**2))


def adversarial_loss(fake: Tensor) -> Tensor:
    """Return the generator's adversarial loss, E[(D(fake) - 1)²].

    Parameters
    ----------
    fake : Tensor
        Scores of generated pairs, of any shape.

    Returns
    -------
    Tensor
        A scalar, at least 0.
    """
    return torch.mean((fake - 1) ** 2)


def generator_loss(adversarial: Tensor, l1: Tensor, lambda_l1: float) -> Tensor:
    """Return the generator's total loss, adversarial + λ · L1 (Isola et al., 2017).

    Parameters
    ----------
    adversarial : Tensor
        Scalar, as from ``adversarial_loss``.
    l1 : Tensor
        Scalar, mean absolute difference of generated and true picture, both in [-1, 1].
    lambda_l1 : float, at least 0
        Weight of the L1 term.

    Returns
    -------
    Tensor
        A scalar, at least 0.
    """
    return adversarial + lambda_l1 * l1


def join_pair(picture: Tensor, condition: Tensor) -> Tensor:
    """Return the discriminator's input.

    Parameters
    ----------
    picture : Tensor
        float (N, 3, H, W) in [-1, 1].
    condition : Tensor
        float (N, 1, H, W) in [0, 1]; scaled to [-1, 1] here.

    Returns
    -------
    Tensor
        float (N, 4, H, W) in [-1, 1].
    """
    return torch.cat([picture, condition * 2 - 1], dim=1)
