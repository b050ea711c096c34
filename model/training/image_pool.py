"""Generated pictures that are shown to the discriminator once more."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class ImagePool:
    """A history of generated pictures (Shrivastava et al., 2017), as CycleGAN uses it.

    Attributes
    ----------
    size : how many are kept; none with 0.
    random : what decides which are shown again.
    kept : float (K, 4, H, W), pictures with their conditions; None before the first.
    """

    size: int
    generator: torch.Generator
    images: Tensor | None = field(default=None)

    def query(self, pairs: Tensor) -> Tensor:
        """Keep new pairs (N, 4, H, W), and return as many: each the new one, or an old one's.

        Until the pool is full every new one is kept and returned. Then half of them take the place
        of an old one each, which is returned instead.
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
