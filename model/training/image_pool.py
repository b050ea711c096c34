"""Generated pictures that are shown to the discriminator once more."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class PicturePool:
    """A history of generated pictures (Shrivastava et al., 2017), as CycleGAN uses it.

    Attributes
    ----------
    size : how many are kept; none with 0.
    random : what decides which are shown again.
    kept : float (K, 4, H, W), pictures with their conditions; None before the first.
    """

    size: int
    random: torch.Generator
    kept: Tensor | None = field(default=None)

    def exchange(self, pairs: Tensor) -> Tensor:
        """Keep new pairs (N, 4, H, W), and return as many: each the new one, or an old one's.

        Until the pool is full every new one is kept and returned. Then half of them take the place
        of an old one each, which is returned instead.
        """
        if not self.size:
            return pairs
        shown = []
        for pair in pairs.detach():
            if self.kept is None or len(self.kept) < self.size:
                alone = pair[None].clone()
                self.kept = alone if self.kept is None else torch.cat([self.kept, alone])
                shown.append(pair)
            elif torch.rand((), generator=self.random) < 0.5:
                place = int(torch.randint(self.size, (), generator=self.random))
                shown.append(self.kept[place].clone())
                self.kept[place] = pair
            else:
                shown.append(pair)
        return torch.stack(shown)
