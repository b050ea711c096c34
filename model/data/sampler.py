"""The order in which a run is shown its pairs; seed and epoch alone decide it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from config.recipe import Recipe
from model.training.distributed import SINGLE_PROCESS, BatchShard, DistributedContext


@dataclass(frozen=True)
class SampleKey:
    """A pair at its turn."""

    epoch: int
    index: int


class ResumableBatchSampler(Sampler[list[SampleKey]]):
    """A process's share of all batches of a run, in an order that seed and epoch alone decide.

    Every epoch shows every pair once; its last batch may be small. So a resumed run repeats what
    an undisturbed one is shown, and workers are ahead of it across the end of an epoch.

    Parameters
    ----------
    count : how many pairs there are.
    recipe : batch, epochs and seed.
    epoch, done : epochs that are over, and batches of the next.
    crew : who shares the batches.
    """

    def __init__(
        self,
        num_pairs: int,
        recipe: Recipe,
        start_epoch: int = 0,
        start_batch: int = 0,
        context: DistributedContext = SINGLE_PROCESS,
    ) -> None:
        self._num_pairs, self._recipe = num_pairs, recipe
        self._start_epoch, self._start_batch = start_epoch, start_batch
        self._context = context
        self.batches_per_epoch = -(-num_pairs // recipe.batch)

    def __len__(self) -> int:
        return (
            self._recipe.epochs - self._start_epoch
        ) * self.batches_per_epoch - self._start_batch

    def get_shard(self, batch_index: int) -> BatchShard:
        """Return this process's share of an epoch's batch of that number, from 0."""
        size = self._recipe.batch
        return self._context.shard_batch(min(size, self._num_pairs - batch_index * size))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        first_batch, batch_size = self._start_batch, self._recipe.batch
        for epoch in range(self._start_epoch, self._recipe.epochs):
            order = np.random.default_rng([self._recipe.seed, epoch]).permutation(self._num_pairs)
            for batch_index in range(first_batch, self.batches_per_epoch):
                indices = order[batch_index * batch_size : (batch_index + 1) * batch_size]
                yield [
                    SampleKey(epoch, int(index))
                    for index in indices[self.get_shard(batch_index).indices]
                ]
            first_batch = 0
