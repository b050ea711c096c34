"""Distributed training: processes that train one run together, each on a shard of every batch."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

# Imported before a process group exists: its functions hold a reference to the group that they find
# at import, and a group that is never destroyed has threads that may abort an exiting process.
import torch.distributed.nn.functional
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

ResultT = TypeVar("ResultT")

# Long, because the other processes wait while the main one traces strokes, validates and writes. A
# process that died is noticed at once: its connections close, and torchrun ends the others.
_GROUP_TIMEOUT = timedelta(days=1)


@dataclass(frozen=True)
class DistributedContext:
    """The processes of a run. All hold the same state; the main one reports and writes for all.

    Attributes
    ----------
    rank : int, default 0
        Number of this process; 0 is the main process.
    world_size : int, default 1
        Number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    def wrap_ddp(self, network: nn.Module) -> nn.Module:
        """Wrap a network so that a backward pass averages the gradients of all processes.

        Without effect in a single process. The networks need no synchronized norms: instance norms
        are over single pictures.
        """
        if self.world_size == 1:
            return network
        return DistributedDataParallel(network)

    def any_rank(self, flag: bool) -> bool:
        """Return in every process whether ``flag`` is true in any of them."""
        if self.world_size == 1:
            return flag
        flags = torch.tensor(float(flag))
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes; ``values`` may be overwritten."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def run_on_main(self, work: Callable[[], ResultT]) -> ResultT:
        """Call a function in the main process; return its result or raise its error in all.

        Parameters
        ----------
        work : callable
            Without parameters. Its result, and any exception that it raises, must be picklable.

        Returns
        -------
        object
            The result, in every process.
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
        """Return this process's shard of a batch with so many pairs."""
        return BatchShard(self, batch_size)


SINGLE_PROCESS = DistributedContext()


@dataclass(frozen=True)
class BatchShard:
    """One process's part of a batch: every ``world_size``-th pair, from its rank on.

    If a small last batch has no pair for this process, the shard is the batch's first pair with
    weight 0, so that the process takes part in the collectives.

    Attributes
    ----------
    context : DistributedContext
        The processes that share the batch.
    batch_size : int
        Pairs of the whole batch.

    Examples
    --------
    >>> shard = BatchShard(DistributedContext(rank=1, world_size=2), batch_size=5)
    >>> "abcde"[shard.indices], shard.weight
    ('bd', 0.4)
    """

    context: DistributedContext
    batch_size: int

    @property
    def weight(self) -> float:
        """The shard's fraction of the batch, 0 to 1."""
        return (
            len(range(self.context.rank, self.batch_size, self.context.world_size))
            / self.batch_size
        )

    @property
    def indices(self) -> slice:
        """The slice of the batch that the shard is."""
        return slice(self.context.rank, None, self.context.world_size) if self.weight else slice(1)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Scale the mean loss of the shard so that the averaged gradient is that of the batch."""
        return loss * (self.weight * self.context.world_size)

    def all_reduce_mean(self, values: Tensor) -> Tensor:
        """Return the mean over the batch of values that are means over the shards."""
        return self.context.all_reduce_sum(values * self.weight)

    def gather(self, local: Tensor) -> Tensor:
        """Return the whole batch in its order.

        Parameters
        ----------
        local : Tensor
            (n, …), the pairs of this shard.

        Returns
        -------
        Tensor
            (batch_size, …), in every process.
        """
        if self.context.world_size == 1:
            return local
        batch = local.new_zeros((self.batch_size, *local.shape[1:]))
        if self.weight:
            batch[self.indices] = local
        return self.context.all_reduce_sum(batch)


@contextmanager
def init_distributed() -> Iterator[DistributedContext]:
    """Initialize the process group if torchrun started this process; else yield a single process.

    Each process has its own GPU where there are GPUs. Tensors on GPUs are exchanged through NCCL,
    others through gloo. The group is destroyed at the end of the block.

    Yields
    ------
    DistributedContext
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
        # Unused networks may still hold the group, in reference cycles with frames of an error.
        gc.collect()
        dist.destroy_process_group()
