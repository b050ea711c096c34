"""Search for the largest batch size that fits a device's memory.

``python -m model.training.batch_size_finder RECIPE`` runs trials.
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

# Fraction of the free memory that trials may use: a long run needs more, for example because of
# fragmentation.
_MEMORY_FRACTION = 0.9
# No larger batch is tried if a step takes longer: on a CPU, time is the limit rather than memory.
_MAX_STEP_S = 60.0
# Timing ends after this many steps, or this many seconds.
_MAX_TIMED_STEPS, _MAX_TIMED_S = 5, 1.0


@dataclass(frozen=True)
class TrialResult:
    """Result of trying a batch size.

    Attributes
    ----------
    batch : int
        Pairs per step.
    seconds : float or None
        Per step; None if memory ran out.
    """

    batch: int
    seconds: float | None


def find_batch_size(
    recipe: Recipe, on_trial: Callable[[TrialResult], None] = lambda _: None
) -> tuple[int, list[TrialResult]]:
    """Find the largest batch whose steps fit into 90 % of the free memory.

    Batches are doubled until one does not fit, then bisected to within an eighth. The result is put
    into the ``BatchSizeCache``.

    Parameters
    ----------
    recipe : Recipe
        Its networks, image size and precision count, its batch does not.
    on_trial : callable, optional
        Called with the result of each trial.

    Returns
    -------
    batch : int
        Up to 1024.
    results : list of TrialResult
        Of all trials, by batch.

    Raises
    ------
    InputError
        If not even one pair fits.
    IcanvasError
        If a step fails for another reason.
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
            f"batch=1 at {recipe.image_size} px does not fit on {describe_device(device)}. Try "
            f"{suggest_smaller_recipe(recipe)}."
        )
    BatchSizeCache(recipe, device, compile_networks).put(largest_fitting)
    return largest_fitting, sorted(results, key=lambda trial: trial.batch)


def should_compile_trials(recipe: Recipe, device: torch.device) -> bool:
    """Return whether trials compile the networks: only for ``compile=on``.

    Compiling takes minutes per batch size. Networks that are not compiled do not need less memory.
    """
    return recipe.compile == "on" and should_compile(recipe, device, 0)


class TrialWorker:
    """A child process that takes steps; replaced by a new one after running out of memory."""

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
        """Return the seconds that a step with a batch takes; None if memory runs out."""
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
            # Compilers and drivers may print other lines.
            with suppress(ValueError, KeyError, TypeError):
                seconds: float | None = json.loads(line)["seconds"]
                if seconds is None:
                    self._close()
                return seconds
        exit_code = self._close()
        if exit_code < 0:
            # Killed for lack of memory, or crashed after a failed allocation.
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
    """Read a batch size per line from stdin, and print the seconds of a step as JSON for each.

    Ends after printing null, if memory ran out.

    Parameters
    ----------
    recipe : Recipe
        With a resolved precision.
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
        # On its own line, even after output of others that has no line end.
        print(f"\n{json.dumps({'seconds': seconds})}", flush=True)
        if seconds is None:
            return


def _time_step(step: Callable[[], object]) -> float:
    """Return the seconds of a step, which synchronizes the GPU when it reads its losses."""
    # Not timed: the first step allocates the optimizers' moments, among others.
    step()
    start, num_steps = time.perf_counter(), 0
    while num_steps < _MAX_TIMED_STEPS and (
        not num_steps or time.perf_counter() - start < _MAX_TIMED_S
    ):
        step()
        num_steps += 1
    return (time.perf_counter() - start) / num_steps


def limit_memory(device: torch.device) -> None:
    """Limit this process to 90 % of the free memory, so that trials do not starve others."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(_MEMORY_FRACTION * free / total)
        return
    # VmData is what the kernel compares with RLIMIT_DATA.
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
    """Return a value in bytes that a file of /proc lists in KiB.

    Parameters
    ----------
    file : str
        Path, such as ``/proc/meminfo``.
    name : str
        Of the value, such as ``MemAvailable``.
    """
    lines = Path(file).read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    serve_trials(Recipe.model_validate_json(sys.argv[1]))
