"""Layers and initialization that both networks use."""

import torch
from torch import Tensor, nn

# Larger than PyTorch's 1e-5, to limit the gradients of near-blank drawings.
_EPS = 1e-3


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm that computes its statistics in f32 under autocast, too."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalize features (N, C, H, W); the result has their dtype."""
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.float()).to(features.dtype)


def instance_norm(channels: int, affine: bool = True) -> InstanceNorm:
    """Return an instance norm.

    Parameters
    ----------
    channels : int
        Channels C of the features (N, C, H, W).
    affine : bool, default True
        Whether it has a learned scale and bias.

    Returns
    -------
    InstanceNorm
    """
    return InstanceNorm(channels, eps=_EPS, affine=affine)


def init_weights(module: nn.Module) -> None:
    """Initialize every convolution as pix2pix does: weights from N(0, 0.02), biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


class ResidualBlock(nn.Module):
    """Two reflection-padded 3×3 convolutions and a skip connection.

    The shape (N, C, H, W) stays.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            instance_norm(channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            instance_norm(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the features plus the output of the body."""
        result: Tensor = features + self.body(features)
        return result
