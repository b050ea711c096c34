"""The largest batch that fits a device, found by trying.

``python -m model.training.batch_size_finder`` is one trial.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from config.errors import IcanvasError, InputError
from config.recipe import Recipe
from model.device import choose_device, settle_precision, should_compile
from model.training.checkpoint import start_state
from model.training.launch import own_environment
from model.training.memory import is_out_of_memory, name_device, name_smaller, remember_batch
from model.training.step import call_networks, train_step

LARGEST = 1024

# Of the memory that is free: what a long run may need besides, as fragments, for one.
_USED = 0.9
# Seconds a step from which on larger batches are not tried: on a CPU memory is not what limits.
_LONG_STEP = 60.0
# Steps that are timed, fewer where they take this many seconds.
_TIMED_STEPS, _TIMED_SECONDS = 5, 1.0


@dataclass(frozen=True)
class Trial:
    """A batch, and how many seconds a step took; None where it did not fit."""

    batch: int
    seconds: float | None


def find_batch(
    recipe: Recipe, on_trial: Callable[[Trial], None] = lambda _: None
) -> tuple[int, list[Trial]]:
    """Return the largest batch whose steps fit a tenth below the free memory, and all trials.

    Batches are doubled until one does not fit, and then halved in, to an eighth. Nothing is kept
    of the steps but that the batch fits.

    Parameters
    ----------
    recipe : networks, image size and precision; its batch does not matter.
    on_trial : called after each.

    Raises
    ------
    InputError
        If not even one pair fits.
    IcanvasError
        If a step fails in another way.
    """
    device = choose_device()
    recipe = settle_precision(recipe, device)
    compiled = compiles_tries(recipe, device)
    trials: list[Trial] = []

    good, bad = 0, LARGEST + 1
    with _Tries(recipe) as tries:
        while bad - good > max(1, good // 8):
            doubled = min(max(1, 2 * good), LARGEST)
            batch = doubled if bad > LARGEST else (good + bad) // 2
            trial = Trial(batch, tries.measure(batch))
            trials.append(trial)
            on_trial(trial)
            if trial.seconds is None:
                bad = batch
            else:
                good = batch
                if trial.seconds > _LONG_STEP:
                    break
    if not good:
        raise InputError(
            f"Not even batch=1 at {recipe.image_size} px fits on {name_device(device)}. Try "
            f"{name_smaller(recipe)}."
        )
    remember_batch(recipe, device, good, compiled)
    return good, sorted(trials, key=lambda trial: trial.batch)


def compiles_tries(recipe: Recipe, device: torch.device) -> bool:
    """Tell whether the steps that are tried are compiled: only where it is asked for.

    For each batch it takes minutes. What is not compiled takes more memory rather than less.
    """
    return recipe.compile == "on" and should_compile(recipe, device, 0)


class _Tries:
    """A child process that takes steps, a new one after each that ran out of memory."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> "_Tries":
        self._errors = tempfile.TemporaryFile("w+", errors="replace")
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._errors.close()

    def measure(self, batch: int) -> float | None:
        """Return a step's seconds; None where it does not fit."""
        if self._child is None:
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "model.training.batch_size_finder",
                    self._recipe.model_dump_json(),
                ],
                env=own_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                errors="replace",
            )
        assert self._child.stdin is not None and self._child.stdout is not None
        with suppress(BrokenPipeError):
            self._child.stdin.write(f"{batch}\n")
            self._child.stdin.flush()
        for line in self._child.stdout:
            # A compiler or a driver may speak, too.
            with suppress(ValueError, KeyError, TypeError):
                seconds: float | None = json.loads(line)["seconds"]
                if seconds is None:
                    self._end()
                return seconds
        code = self._end()
        if code < 0:
            # Killed for want of memory, or it met an allocation that failed and went on.
            return None
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines() or [f"exit code {code}"]
        raise IcanvasError(f"A step of batch={batch} failed: {said[-1]}")

    def _end(self) -> int:
        child, self._child = self._child, None
        if child is None:
            return 0
        assert child.stdin is not None and child.stdout is not None
        with suppress(BrokenPipeError):
            child.stdin.close()
        child.stdout.close()
        return child.wait()


def serve_tries(recipe: Recipe) -> None:
    """Read a batch a line, and print the seconds of a step as JSON: null ends it, out of memory.

    Parameters
    ----------
    recipe : with a settled precision.
    """
    device = choose_device()
    state = start_state(recipe, device)
    networks = call_networks(state, compiles_tries(recipe, device))
    leave_headroom(device)
    side = recipe.image_size
    for line in sys.stdin:
        batch = int(line)
        torch.compiler.reset()
        torch.cuda.empty_cache()
        try:
            condition = torch.rand((batch, 1, side, side), device=device).round()
            target = torch.rand((batch, 3, side, side), device=device) * 2 - 1
            seconds = _time(partial(train_step, state, networks, condition, target, recipe))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            seconds = None
        # On a line of its own, whatever else was printed.
        print(f"\n{json.dumps({'seconds': seconds})}", flush=True)
        if seconds is None:
            return


def _time(step: Callable[[], object]) -> float:
    """Return a step's seconds. A step ends by reading its losses, so a GPU is waited for."""
    # The first one makes the optimisers' moments, and whatever the device prepares.
    step()
    start, done = time.perf_counter(), 0
    while done < _TIMED_STEPS and (not done or time.perf_counter() - start < _TIMED_SECONDS):
        step()
        done += 1
    return (time.perf_counter() - start) / done


def leave_headroom(device: torch.device) -> None:
    """Let this process have nine tenths of what is free, so that the rest is not touched."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(_USED * free / total)
        return
    # What a process writes to, as the kernel counts it for the limit.
    used = read_kib("/proc/self/status", "VmData")
    room = read_kib("/proc/meminfo", "MemAvailable")
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        most = int((group / "memory.max").read_text())
        room = min(room, most - int((group / "memory.current").read_text()))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft != resource.RLIM_INFINITY:
        room = min(room, soft - used)
    resource.setrlimit(resource.RLIMIT_DATA, (used + int(_USED * room), hard))


def read_kib(file: str, name: str) -> int:
    """Return a figure that the kernel gives in KiB, in bytes."""
    lines = Path(file).read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    serve_tries(Recipe.model_validate_json(sys.argv[1]))
