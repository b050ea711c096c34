"""The order in which a run is shown its pairs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from config.recipe import Recipe
from model.training.distributed import SINGLE_PROCESS, BatchShard, DistributedContext


@dataclass(frozen=True)
class SampleKey:
    """A pair in an epoch.

    Attributes
    ----------
    epoch : int
        From 0.
    index : int
        Of the pair in its data set.
    """

    epoch: int
    index: int


class ResumableBatchSampler(Sampler[list[SampleKey]]):
    """One process's shards of all batches of a run, in an order determined by seed and epoch.

    Every epoch shows every pair once; its last batch may be smaller. A resumed run is shown what an
    uninterrupted one would be. Loader processes load across the end of an epoch.

    Parameters
    ----------
    num_pairs : int
        Number of pairs.
    recipe : Recipe
        Its batch, epochs and seed.
    start_epoch : int, default 0
        Completed epochs.
    start_batch : int, default 0
        Completed batches of the next epoch.
    context : DistributedContext
        The processes that share the batches.

    Attributes
    ----------
    batches_per_epoch : int
        Batches of an epoch, also the small last one.

    Examples
    --------
    >>> from config.recipe import Recipe
    >>> sampler = ResumableBatchSampler(5, Recipe(batch=2, epochs=3), start_epoch=1, start_batch=2)
    >>> len(sampler), [len(batch) for batch in sampler]
    (4, [1, 2, 2, 1])
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
        """Return this process's shard of a batch.

        Parameters
        ----------
        batch_index : int
            Of the batch in its epoch, from 0.
        """
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
