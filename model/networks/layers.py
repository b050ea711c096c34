"""What both networks share."""

import torch
from torch import Tensor, nn

# Larger than PyTorch's 1e-5: it tames the gradients that near-blank drawings cause.
_EPS = 1e-3


class InstanceNorm(nn.InstanceNorm2d):
    """An instance norm whose statistics are f32, whatever the convolutions before it compute in."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (N, C, H, W); the result has the type of the features."""
        with torch.autocast(features.device.type, enabled=False):
            return super().forward(features.float()).to(features.dtype)


def instance_norm(channels: int, affine: bool = True) -> InstanceNorm:
    """Return an instance norm over (N, channels, H, W)."""
    return InstanceNorm(channels, eps=_EPS, affine=affine)


def init_weights(module: nn.Module) -> None:
    """Draw every convolution's weights from N(0, 0.02) and set its bias to 0, as pix2pix does."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable values."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


class ResidualBlock(nn.Module):
    """Two reflection-padded 3x3 convolutions beside a shortcut; (N, C, H, W) to the same."""

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
        """Add what the body finds to the features."""
        result: Tensor = features + self.body(features)
        return result
