"""Running out of memory: detection, advice, and a cache of batch sizes that fit."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from types import TracebackType

import torch

from config.errors import InputError
from config.recipe import Recipe
from config.settings import get_settings
from model.training.distributed import DistributedContext

# The first step allocates the optimizers' moments, so the second needs the most memory.
_MIN_FULL_STEPS = 2

_OOM_MESSAGES = (
    "can't allocate memory",  # the CPU's allocator
    "could not create a memory object",  # oneDNN
    "could not create a primitive",
    "bad_alloc",
    "_STATUS_ALLOC_FAILED",  # cuDNN and cuBLAS
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the memory of a GPU or of this machine ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _OOM_MESSAGES)


def describe_device(device: torch.device) -> str:
    """Return a device's name, with the size of its own memory, if any.

    Examples
    --------
    >>> describe_device(torch.device("cpu"))
    'the CPU'
    """
    if device.type != "cuda":
        return "the CPU"
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"


@dataclass
class OomGuard:
    """Context manager that caches a batch size that fits and explains out-of-memory errors.

    Attributes
    ----------
    dataset : str
        Name of the data set, for messages.
    recipe : Recipe
        With a resolved precision.
    device : torch.device
        Where steps are taken.
    context : DistributedContext
        The processes that share a batch.
    compiled : bool
        Whether the networks are compiled.
    completed_steps : int
        Number of steps.

    Raises
    ------
    InputError
        On exit, in place of an out-of-memory error; suggests options.
    """

    dataset: str
    recipe: Recipe
    device: torch.device
    context: DistributedContext
    compiled: bool = False
    completed_steps: int = 0
    _in_step: bool = False
    _is_cached: bool = False

    def __enter__(self) -> "OomGuard":
        """Return the guard."""
        return self

    @contextmanager
    def step(self, batch_size: int) -> Iterator[None]:
        """Observe a step, in the block; after an exception the step counts as unfinished.

        Parameters
        ----------
        batch_size : int
            Pairs of the step's batch.
        """
        self._in_step = True
        yield
        self._in_step = False
        self.completed_steps += 1
        # The last batch of an epoch may be smaller, or the only one.
        is_full = batch_size == self.recipe.batch and self.completed_steps >= _MIN_FULL_STEPS
        if is_full and not self._is_cached and self.context.is_main_process:
            self._cache.put(self._batch_per_process)
            self._is_cached = True

    @property
    def _cache(self) -> "BatchSizeCache":
        return BatchSizeCache(self.recipe, self.device, self.compiled)

    @property
    def _batch_per_process(self) -> int:
        """The maximum number of pairs of a batch in a process."""
        return -(-self.recipe.batch // self.context.world_size)

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Raise InputError in place of an out-of-memory error."""
        if error is not None and is_out_of_memory(error):
            raise InputError(self._format_error()) from error

    def _format_error(self) -> str:
        world_size, recipe = self.context.world_size, self.recipe
        if self._in_step:
            failed = f"a step of batch={recipe.batch}"
        elif self.completed_steps:
            failed = f"a checkpoint or validation after steps of batch={recipe.batch}"
        else:
            failed = "the state before the first step"
        suggested, last_fit = 0, ""
        if self._in_step or self.completed_steps:
            cached = self._cache.get(below=self._batch_per_process)
            last_fit = (
                f"; {cached.batch * world_size} fitted last time ({cached.day})" if cached else ""
            )
            suggested = cached.batch * world_size if cached else recipe.batch // 2
        processes = f" in {world_size} processes" if world_size > 1 else ""
        advice = f"Try {suggest_smaller_recipe(recipe)}."
        # Each process needs at least one pair.
        if suggested >= world_size:
            advice = (
                f"Try --set batch={suggested}, or find the largest that fits with `icanvas train "
                f"{self.dataset} --find-batch`."
            )
        elif suggested:
            advice = f"Try fewer processes, or {suggest_smaller_recipe(recipe)}."
        return (
            f"{self.dataset}: out of memory: {failed} at {recipe.image_size} px does not fit on "
            f"{describe_device(self.device)}{processes}{last_fit}. {advice}"
        )


def suggest_smaller_recipe(recipe: Recipe) -> str:
    """Return options that need less memory at the same batch size."""
    side = next((side for side in (128, 64) if side < recipe.image_size), None)
    return f"{f'--set image_size={side}, or ' if side else ''}a smaller generator_width"


@dataclass(frozen=True)
class CachedBatchSize:
    """A batch size that fits.

    Attributes
    ----------
    batch : int
        Pairs of one process.
    day : str
        When it last did, as an ISO date.
    """

    batch: int
    day: str


class BatchSizeCache:
    """The largest batch of one process that is known to fit.

    Stored in ``batches.json`` in the cache folder.

    Parameters
    ----------
    recipe : Recipe
        Its networks, image size and precision count, its batch does not.
    device : torch.device
        Where steps are taken.
    compiled : bool, default False
        Whether the networks are compiled.
    """

    def __init__(self, recipe: Recipe, device: torch.device, compiled: bool = False) -> None:
        # Everything that decides how much memory a pair takes.
        self._key = (
            f"{describe_device(device)}, {recipe.precision}, {recipe.image_size} px, generator "
            f"{recipe.generator_width}×{recipe.generator_blocks}, discriminator "
            f"{recipe.discriminator_width}{', compiled' if compiled else ''}"
        )
        self._file = get_settings().cache / "batches.json"

    def get(self, below: int | None = None) -> CachedBatchSize | None:
        """Return the largest batch known to fit.

        Parameters
        ----------
        below : int, optional
            A batch that has just failed: an entry that is not smaller is deleted.

        Returns
        -------
        CachedBatchSize or None
            None if no batch is known to fit, or the file is damaged.
        """
        with suppress(OSError, ValueError, TypeError, KeyError):
            entry = CachedBatchSize(**json.loads(self._file.read_text())[self._key])
            if below is None or entry.batch < below:
                return entry
            self._write(None)
        return None

    def put(self, batch: int) -> None:
        """Record that a batch fits, unless a larger one is known to fit."""
        known = self.get()
        if known is None or known.batch <= batch:
            self._write(CachedBatchSize(batch, date.today().isoformat()))

    def _write(self, entry: CachedBatchSize | None) -> None:
        """Replace or delete the entry. A cache folder that is not writable is not an error."""
        entries: dict[str, object] = {}
        with suppress(OSError, ValueError):
            entries = dict(json.loads(self._file.read_text()))
        entries.pop(self._key, None)
        if entry:
            entries[self._key] = vars(entry)
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._file.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(entries, indent=2, ensure_ascii=False))
            temporary.replace(self._file)
