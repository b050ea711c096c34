"""A history of generated pictures that the discriminator is shown again."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class ImagePool:
    """A history of generated pictures (Shrivastava et al., 2017), as in CycleGAN.

    Attributes
    ----------
    size : int
        Capacity; 0 disables the pool.
    generator : torch.Generator
        Decides which pictures are returned again.
    images : Tensor or None
        float (K, 4, H, W), pictures with their conditions; None before the first query.
    """

    size: int
    generator: torch.Generator
    images: Tensor | None = field(default=None)

    def query(self, pairs: Tensor) -> Tensor:
        """Store new pairs, and return as many new or stored ones.

        Until the pool is full, new pairs are stored and returned. Then each new pair replaces a
        random stored one with probability 0.5, which is returned in its place.

        Parameters
        ----------
        pairs : Tensor
            float (N, 4, H, W).

        Returns
        -------
        Tensor
            float (N, 4, H, W), without gradients if the pool is enabled.
        """
        if not self.size:
            return pairs
        returned = []
        for pair in pairs.detach():
            if self.images is None or len(self.images) < self.size:
                entry = pair[None].clone()
                self.images = entry if self.images is None else torch.cat([self.images, entry])
                returned.append(pair)
            elif torch.rand((), generator=self.generator) < 0.5:
                index = int(torch.randint(self.size, (), generator=self.generator))
                returned.append(self.images[index].clone())
                self.images[index] = pair
            else:
                returned.append(pair)
        return torch.stack(returned)
