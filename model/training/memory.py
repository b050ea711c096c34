"""What fits into a device's memory: an error that says so, and what fitted last time."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import TracebackType

import torch

from config.errors import InputError
from config.recipe import Recipe
from config.settings import get_settings
from model.training.distributed import Crew

# From the second step on there is all that a step needs: the first makes the optimisers' moments.
_WHOLE_STEPS = 2

_SIGNS = (
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
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def name_device(device: torch.device) -> str:
    """Return what a person calls a device, with its memory where it has its own."""
    if device.type != "cuda":
        return "the CPU"
    facts = torch.cuda.get_device_properties(device)
    return f"{facts.name} ({facts.total_memory / 2**30:.0f} GiB)"


@dataclass
class MemoryWatch:
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
    crew: Crew
    compiled: bool = False
    steps: int = 0
    _stepping: bool = False
    _remembered: bool = False

    def __enter__(self) -> "MemoryWatch":
        """Begin a run."""
        return self

    @contextmanager
    def step(self, count: int) -> Iterator[None]:
        """Take a step of so many pairs in the block; left by an error it stays begun."""
        self._stepping = True
        yield
        self._stepping = False
        self.steps += 1
        # The last batch of an epoch may be small, and so may all be.
        whole = count == self.recipe.batch and self.steps >= _WHOLE_STEPS
        if whole and not self._remembered and self.crew.leads:
            remember_batch(self.recipe, self.device, self._share, self.compiled)
            self._remembered = True

    @property
    def _share(self) -> int:
        """How many pairs of a batch a process takes at most."""
        return -(-self.recipe.batch // self.crew.size)

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End it; InputError where memory ran out."""
        if error is not None and is_out_of_memory(error):
            raise InputError(self._explain()) from error

    def _explain(self) -> str:
        size, recipe = self.crew.size, self.recipe
        if self._stepping:
            what = f"a step of batch={recipe.batch}"
        elif self.steps:
            what = f"a checkpoint or validation beside steps of batch={recipe.batch}"
        else:
            what = "its state without any step"
        tried, fits = 0, ""
        if self._stepping or self.steps:
            found = recall_batch(self.recipe, self.device, self.compiled, below=self._share)
            fits = f"; {found.batch * size} fitted last time ({found.day})" if found else ""
            tried = found.batch * size if found else recipe.batch // 2
        shared = f" in {size} processes" if size > 1 else ""
        advice = f"Try {name_smaller(recipe)}."
        # Each process takes one pair at least.
        if tried >= size:
            advice = (
                f"Try --set batch={tried}, or `icanvas train {self.dataset} --find-batch` to find "
                "the largest that fits."
            )
        elif tried:
            advice = f"Try fewer processes, {name_smaller(recipe)}."
        return (
            f"{self.dataset}: out of memory: {what} at {recipe.image_size} px does not fit on "
            f"{name_device(self.device)}{shared}{fits}. {advice}"
        )


def name_smaller(recipe: Recipe) -> str:
    """Return what a person may set where the batch cannot be smaller."""
    side = next((side for side in (128, 64) if side < recipe.image_size), None)
    return f"{f'--set image_size={side}, or ' if side else ''}a smaller generator_width"


@dataclass(frozen=True)
class Fit:
    """A batch that fitted, of one process, and the day when it last did (ISO)."""

    batch: int
    day: str


def remember_batch(
    recipe: Recipe, device: torch.device, batch: int, compiled: bool = False
) -> None:
    """Note that a batch fits, unless a larger one is known to."""
    known = recall_batch(recipe, device, compiled)
    if known is None or known.batch <= batch:
        _write(_key(recipe, device, compiled), Fit(batch, date.today().isoformat()))


def recall_batch(
    recipe: Recipe, device: torch.device, compiled: bool = False, below: int | None = None
) -> Fit | None:
    """Return the largest batch known to fit a device with networks and pictures of these sizes.

    Parameters
    ----------
    recipe, device, compiled : what is trained, where, and how.
    below : a batch that has just not fitted: what is known to fit from there on is forgotten.
    """
    with suppress(OSError, ValueError, TypeError, KeyError):
        key = _key(recipe, device, compiled)
        fit = Fit(**json.loads(_file().read_text())[key])
        if below is None or fit.batch < below:
            return fit
        _write(key, None)
    return None


def _file() -> Path:
    return get_settings().cache / "batches.json"


def _key(recipe: Recipe, device: torch.device, compiled: bool) -> str:
    """Return what decides how much memory a pair takes."""
    return (
        f"{name_device(device)}, {recipe.precision}, {recipe.image_size} px, generator "
        f"{recipe.generator_width}×{recipe.generator_blocks}, discriminator "
        f"{recipe.discriminator_width}{', compiled' if compiled else ''}"
    )


def _write(key: str, fit: Fit | None) -> None:
    """Keep what fits; without a cache that can be written to nothing is remembered."""
    file = _file()
    known: dict[str, object] = {}
    with suppress(OSError, ValueError):
        known = dict(json.loads(file.read_text()))
    known.pop(key, None)
    if fit:
        known[key] = vars(fit)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(known, indent=2, ensure_ascii=False))
        new.replace(file)
