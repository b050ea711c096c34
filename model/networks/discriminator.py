"""The discriminator, which scores overlapping patches."""

from torch import Tensor, nn

from model.networks.layers import init_weights, instance_norm


class Discriminator(nn.Module):
    """The 70×70 PatchGAN of Isola et al. (2017): C64-C128-C256-C512-1, 4×4 kernels.

    C64 has a bias and no norm. C128 and C256 have affine instance norms, C512 one without
    parameters. With 4 input channels this gives 2,765,633 parameters at width 64
    (docs/decisions.md).

    Parameters
    ----------
    width : int, default 64
        Channels of the first convolution.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
            instance_norm(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1, bias=False),
            instance_norm(4 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(4 * width, 8 * width, 4, padding=1, bias=False),
            instance_norm(8 * width, affine=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(8 * width, 1, 4, padding=1),
        )
        init_weights(self)

    def forward(self, pair: Tensor) -> Tensor:
        """Score every patch.

        Parameters
        ----------
        pair : Tensor
            float (N, 4, H, W) in [-1, 1]: three channels of picture, one of condition. H and W are
            at least 32.

        Returns
        -------
        Tensor
            float (N, 1, H/8-2, W/8-2), unbounded; the targets are 1 for real and 0 for generated
            patches.
        """
        scores: Tensor = self.layers(pair)
        return scores
