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
from model.device import choose_device, resolve_precision, should_compile
from model.training.checkpoint import init_state
from model.training.launch import worker_env
from model.training.memory import (
    BatchSizeCache,
    describe_device,
    is_out_of_memory,
    suggest_smaller_recipe,
)
from model.training.step import prepare_networks, train_step

MAX_BATCH_SIZE = 1024

# Of the memory that is free: what a long run may need besides, as fragments, for one.
_MEMORY_FRACTION = 0.9
# Seconds a step from which on larger batches are not tried: on a CPU memory is not what limits.
_MAX_STEP_S = 60.0
# Steps that are timed, fewer where they take this many seconds.
_MAX_TIMED_STEPS, _MAX_TIMED_S = 5, 1.0


@dataclass(frozen=True)
class TrialResult:
    """A batch, and how many seconds a step took; None where it did not fit."""

    batch: int
    seconds: float | None


def find_batch_size(
    recipe: Recipe, on_trial: Callable[[TrialResult], None] = lambda _: None
) -> tuple[int, list[TrialResult]]:
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
    recipe = resolve_precision(recipe, device)
    compile_networks = should_compile_trials(recipe, device)
    results: list[TrialResult] = []

    largest_fitting, smallest_failing = 0, MAX_BATCH_SIZE + 1
    with TrialWorker(recipe) as worker:
        while smallest_failing - largest_fitting > max(1, largest_fitting // 8):
            doubled = min(max(1, 2 * largest_fitting), MAX_BATCH_SIZE)
            batch = (
                doubled
                if smallest_failing > MAX_BATCH_SIZE
                else (largest_fitting + smallest_failing) // 2
            )
            result = TrialResult(batch, worker.measure(batch))
            results.append(result)
            on_trial(result)
            if result.seconds is None:
                smallest_failing = batch
            else:
                largest_fitting = batch
                if result.seconds > _MAX_STEP_S:
                    break
    if not largest_fitting:
        raise InputError(
            f"Not even batch=1 at {recipe.image_size} px fits on {describe_device(device)}. Try "
            f"{suggest_smaller_recipe(recipe)}."
        )
    BatchSizeCache(recipe, device, compile_networks).put(largest_fitting)
    return largest_fitting, sorted(results, key=lambda trial: trial.batch)


def should_compile_trials(recipe: Recipe, device: torch.device) -> bool:
    """Tell whether the steps that are tried are compiled: only where it is asked for.

    For each batch it takes minutes. What is not compiled takes more memory rather than less.
    """
    return recipe.compile == "on" and should_compile(recipe, device, 0)


class TrialWorker:
    """A child process that takes steps, a new one after each that ran out of memory."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "TrialWorker":
        self._errors = tempfile.TemporaryFile("w+", errors="replace")
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._errors.close()

    def measure(self, batch: int) -> float | None:
        """Return a step's seconds; None where it does not fit."""
        if self._process is None:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "model.training.batch_size_finder",
                    self._recipe.model_dump_json(),
                ],
                env=worker_env(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                errors="replace",
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{batch}\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            # A compiler or a driver may speak, too.
            with suppress(ValueError, KeyError, TypeError):
                seconds: float | None = json.loads(line)["seconds"]
                if seconds is None:
                    self._close()
                return seconds
        exit_code = self._close()
        if exit_code < 0:
            # Killed for want of memory, or it met an allocation that failed and went on.
            return None
        self._errors.seek(0)
        output = self._errors.read().strip().splitlines() or [f"exit code {exit_code}"]
        raise IcanvasError(f"A step of batch={batch} failed: {output[-1]}")

    def _close(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        return process.wait()


def serve_trials(recipe: Recipe) -> None:
    """Read a batch a line, and print the seconds of a step as JSON: null ends it, out of memory.

    Parameters
    ----------
    recipe : with a settled precision.
    """
    device = choose_device()
    state = init_state(recipe, device)
    networks = prepare_networks(state, should_compile_trials(recipe, device))
    limit_memory(device)
    side = recipe.image_size
    for line in sys.stdin:
        batch = int(line)
        torch.compiler.reset()
        torch.cuda.empty_cache()
        try:
            condition = torch.rand((batch, 1, side, side), device=device).round()
            target = torch.rand((batch, 3, side, side), device=device) * 2 - 1
            seconds = _time_step(partial(train_step, state, networks, condition, target, recipe))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            seconds = None
        # On a line of its own, whatever else was printed.
        print(f"\n{json.dumps({'seconds': seconds})}", flush=True)
        if seconds is None:
            return


def _time_step(step: Callable[[], object]) -> float:
    """Return a step's seconds. A step ends by reading its losses, so a GPU is waited for."""
    # The first one makes the optimisers' moments, and whatever the device prepares.
    step()
    start, num_steps = time.perf_counter(), 0
    while num_steps < _MAX_TIMED_STEPS and (
        not num_steps or time.perf_counter() - start < _MAX_TIMED_S
    ):
        step()
        num_steps += 1
    return (time.perf_counter() - start) / num_steps


def limit_memory(device: torch.device) -> None:
    """Let this process have nine tenths of what is free, so that the rest is not touched."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(_MEMORY_FRACTION * free / total)
        return
    # What a process writes to, as the kernel counts it for the limit.
    used = read_proc_bytes("/proc/self/status", "VmData")
    available = read_proc_bytes("/proc/meminfo", "MemAvailable")
    with suppress(OSError, ValueError):
        cgroup = Path("/sys/fs/cgroup")
        limit = int((cgroup / "memory.max").read_text())
        available = min(available, limit - int((cgroup / "memory.current").read_text()))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft != resource.RLIM_INFINITY:
        available = min(available, soft - used)
    resource.setrlimit(resource.RLIMIT_DATA, (used + int(_MEMORY_FRACTION * available), hard))


def read_proc_bytes(file: str, name: str) -> int:
    """Return a figure that the kernel gives in KiB, in bytes."""
    lines = Path(file).read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    serve_trials(Recipe.model_validate_json(sys.argv[1]))
