"""Processes that train one run together, each on its share of every batch."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

# Before there is a group: its functions keep the one that they find when they are imported, and
# what keeps the group keeps its threads, which may abort a process that ends.
import torch.distributed.nn.functional
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

ResultT = TypeVar("ResultT")

# The others wait while the first traces strokes, validates and writes. One that has died is noticed
# at once: its connections close, and torchrun ends the rest.
_GROUP_TIMEOUT = timedelta(days=1)


@dataclass(frozen=True)
class DistributedContext:
    """The processes of a run. All hold the same state; the first one speaks and writes for them.

    Attributes
    ----------
    rank, size : which process this is, of how many.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.rank == 0

    def wrap_ddp(self, network: nn.Module) -> nn.Module:
        """Return a network whose gradients, after a backward pass, are the mean of all processes'.

        Its norms are over single pictures, so no statistics need to be shared.
        """
        if self.world_size == 1:
            return network
        return DistributedDataParallel(network)

    def any_rank(self, flag: bool) -> bool:
        """Tell every process whether one of them says yes."""
        if self.world_size == 1:
            return flag
        flags = torch.tensor(float(flag))
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Return the sum of all processes' values; those given may be overwritten."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def run_on_main(self, work: Callable[[], ResultT]) -> ResultT:
        """Let the first process do some work, and return its result, or raise its error, in all.

        Both have to be such that they can be pickled.
        """
        if self.world_size == 1:
            return work()
        outcome: list[Any] = [None, None]
        local_error: Exception | None = None
        if self.is_main_process:
            try:
                outcome[0] = work()
            except Exception as error:
                outcome[1] = local_error = error
        dist.broadcast_object_list(outcome, device=torch.device("cpu"))
        if outcome[1] is not None:
            raise local_error or outcome[1]
        result: ResultT = outcome[0]
        return result

    def shard_batch(self, batch_size: int) -> "BatchShard":
        """Return this process's share of a batch of so many pairs."""
        return BatchShard(self, batch_size)


SINGLE_PROCESS = DistributedContext()


@dataclass(frozen=True)
class BatchShard:
    """A process's part of a batch: from its rank on, every pair that is ``size`` further.

    Where a small last batch leaves nothing for it, it goes through the step with the batch's first
    pair, and counts for nothing.

    Attributes
    ----------
    crew : who shares.
    count : pairs of the whole batch.
    """

    context: DistributedContext
    batch_size: int

    @property
    def weight(self) -> float:
        """What part of the batch it is, 0 to 1."""
        return (
            len(range(self.context.rank, self.batch_size, self.context.world_size))
            / self.batch_size
        )

    @property
    def indices(self) -> slice:
        """Where in the batch its pairs are."""
        return slice(self.context.rank, None, self.context.world_size) if self.weight else slice(1)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Weigh the mean loss of this share so that the mean gradient is that of the batch."""
        return loss * (self.weight * self.context.world_size)

    def all_reduce_mean(self, values: Tensor) -> Tensor:
        """Return the batch's mean of what is the mean of this share."""
        return self.context.all_reduce_sum(values * self.weight)

    def gather(self, local: Tensor) -> Tensor:
        """Return (count, …), the whole batch in its order, from every share's part of it."""
        if self.context.world_size == 1:
            return local
        batch = local.new_zeros((self.batch_size, *local.shape[1:]))
        if self.weight:
            batch[self.indices] = local
        return self.context.all_reduce_sum(batch)


@contextmanager
def init_distributed() -> Iterator[DistributedContext]:
    """Join the processes that torchrun started, for the time of the block; alone without it.

    Each has a GPU of its own where there are GPUs. They talk through NCCL about what is on these,
    and through gloo about the rest.
    """
    if "RANK" not in os.environ:
        yield DistributedContext()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(timeout=_GROUP_TIMEOUT)
    try:
        yield DistributedContext(dist.get_rank(), dist.get_world_size())
    finally:
        # Networks that are called no more may keep the group, in cycles with an error's frames.
        gc.collect()
        dist.destroy_process_group()
