"""The generator, which turns a line drawing into a picture."""

import torch
from torch import Tensor, nn

from model.networks.layers import ResidualBlock, init_weights, instance_norm

# The last layers, which are never autocast: padding, convolution, tanh.
_NUM_F32_LAYERS = 3


class Generator(nn.Module):
    """ResNet generator of Johnson et al. (2016), as in CycleGAN, with one input channel.

    c7s1-64, d128, d256, R256 × blocks, u128, u64, c7s1-3. Convolutions before a norm have no bias.
    The norms are affine. The last convolution has a bias and no norm.

    Parameters
    ----------
    width : int, default 64
        Channels of the first convolution. Width 64 and 9 blocks give 11,377,155 parameters.
    blocks : int, default 9
        Residual blocks.
    """

    def __init__(self, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(1, width, 7, bias=False),
            instance_norm(width),
            nn.ReLU(inplace=True),
        ]
        for channels in (width, 2 * width):
            layers += [
                nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False),
                instance_norm(2 * channels),
                nn.ReLU(inplace=True),
            ]
        layers += [ResidualBlock(4 * width) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):
            layers += [
                nn.ConvTranspose2d(
                    channels,
                    channels // 2,
                    3,
                    stride=2,
                    padding=1,
                    output_padding=1,
                    bias=False,
                ),
                instance_norm(channels // 2),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        init_weights(self)

    def forward(self, condition: Tensor) -> Tensor:
        """Generate pictures.

        Parameters
        ----------
        condition : Tensor
            float (N, 1, H, W) in [0, 1], 0 on lines. H and W are multiples of 4.

        Returns
        -------
        Tensor
            float32 (N, 3, H, W), RGB in [-1, 1].
        """
        features: Tensor = self.layers[:-_NUM_F32_LAYERS](condition)
        # bf16 has too few bits for 8-bit colors.
        with torch.autocast(features.device.type, enabled=False):
            picture: Tensor = self.layers[-_NUM_F32_LAYERS:](features.float())
        return picture
