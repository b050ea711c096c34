"""What fits into a device's memory: an error that says so, and what fitted last time."""

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

# From the second step on there is all that a step needs: the first makes the optimisers' moments.
_MIN_FULL_STEPS = 2

_OOM_MESSAGES = (
    "can't allocate memory",  # the CPU's allocator
    "could not create a memory object",  # oneDNN
    "could not create a primitive",
    "bad_alloc",
    "_STATUS_ALLOC_FAILED",  # cuDNN and cuBLAS
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory has run out, of a GPU or of this machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _OOM_MESSAGES)


def describe_device(device: torch.device) -> str:
    """Return what a person calls a device, with its memory where it has its own."""
    if device.type != "cuda":
        return "the CPU"
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"


@dataclass
class OomGuard:
    """The block of a run: it remembers a batch that fits, and explains what does not.

    Attributes
    ----------
    dataset, recipe, device, crew : what is trained, where, and by how many.
    compiled : whether its networks are.
    steps : done.
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
        """Begin a run."""
        return self

    @contextmanager
    def step(self, batch_size: int) -> Iterator[None]:
        """Take a step of so many pairs in the block; left by an error it stays begun."""
        self._in_step = True
        yield
        self._in_step = False
        self.completed_steps += 1
        # The last batch of an epoch may be small, and so may all be.
        is_full = batch_size == self.recipe.batch and self.completed_steps >= _MIN_FULL_STEPS
        if is_full and not self._is_cached and self.context.is_main_process:
            self._cache.put(self._batch_per_process)
            self._is_cached = True

    @property
    def _cache(self) -> "BatchSizeCache":
        return BatchSizeCache(self.recipe, self.device, self.compiled)

    @property
    def _batch_per_process(self) -> int:
        """How many pairs of a batch a process takes at most."""
        return -(-self.recipe.batch // self.context.world_size)

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End it; InputError where memory ran out."""
        if error is not None and is_out_of_memory(error):
            raise InputError(self._format_error()) from error

    def _format_error(self) -> str:
        world_size, recipe = self.context.world_size, self.recipe
        if self._in_step:
            failed = f"a step of batch={recipe.batch}"
        elif self.completed_steps:
            failed = f"a checkpoint or validation beside steps of batch={recipe.batch}"
        else:
            failed = "its state without any step"
        suggested, last_fit = 0, ""
        if self._in_step or self.completed_steps:
            cached = self._cache.get(below=self._batch_per_process)
            last_fit = (
                f"; {cached.batch * world_size} fitted last time ({cached.day})" if cached else ""
            )
            suggested = cached.batch * world_size if cached else recipe.batch // 2
        processes = f" in {world_size} processes" if world_size > 1 else ""
        advice = f"Try {suggest_smaller_recipe(recipe)}."
        # Each process takes one pair at least.
        if suggested >= world_size:
            advice = (
                f"Try --set batch={suggested}, or find the largest that fits with `icanvas train "
                f"{self.dataset} --find-batch`."
            )
        elif suggested:
            advice = f"Try fewer processes, {suggest_smaller_recipe(recipe)}."
        return (
            f"{self.dataset}: out of memory: {failed} at {recipe.image_size} px does not fit on "
            f"{describe_device(self.device)}{processes}{last_fit}. {advice}"
        )


def suggest_smaller_recipe(recipe: Recipe) -> str:
    """Return what a person may set where the batch cannot be smaller."""
    side = next((side for side in (128, 64) if side < recipe.image_size), None)
    return f"{f'--set image_size={side}, or ' if side else ''}a smaller generator_width"


@dataclass(frozen=True)
class CachedBatchSize:
    """A batch that fitted, of one process, and the day when it last did (ISO)."""

    batch: int
    day: str


class BatchSizeCache:
    """The largest batch of one process that is known to fit, kept in ``batches.json`` of the cache.

    Parameters
    ----------
    recipe : networks, image size and precision; its batch does not matter.
    device : where the steps are taken.
    compiled : whether the networks are compiled.
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
        """Return the largest batch known to fit; None where none is known.

        Parameters
        ----------
        below : a batch that has just failed: an entry that is not smaller is deleted.
        """
        with suppress(OSError, ValueError, TypeError, KeyError):
            entry = CachedBatchSize(**json.loads(self._file.read_text())[self._key])
            if below is None or entry.batch < below:
                return entry
            self._write(None)
        return None

    def put(self, batch: int) -> None:
        """Record that a batch fits, unless a larger one is known to."""
        known = self.get()
        if known is None or known.batch <= batch:
            self._write(CachedBatchSize(batch, date.today().isoformat()))

    def _write(self, entry: CachedBatchSize | None) -> None:
        """Replace the entry; a cache folder that cannot be written to is not an error."""
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
