"""Launch distributed training with torchrun, relay its events, and stop it."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

import config.errors
from config.errors import IcanvasError, InputError
from config.recipe import Recipe
from config.settings import get_usable_cores
from model.training.callbacks import NO_CALLBACKS, TrainingCallbacks, TrainingStopped
from model.training.train import TrainedRun

# Seconds from SIGTERM to SIGKILL for the step in progress and for writing the checkpoint; the
# recipe's grace period for uploading it is added.
_STEP_TIMEOUT_S = 60

# Seconds between two calls of ``should_stop`` while the processes print nothing.
_POLL_INTERVAL_S = 0.2


class WorkerConfig(BaseModel):
    """What the worker processes train; see ``model.training.train``.

    Attributes
    ----------
    store : str
        URL of the store.
    dataset : str
        Name of the data set.
    pairs : str
        Fingerprint of the pair set.
    recipe : Recipe
        Options of the run.
    force : bool
        Train again where the run is finished.
    sketches : Path or None
        An .npz file with hand-drawn sketches.
    """

    model_config = ConfigDict(extra="forbid")

    store: str
    dataset: str
    pairs: str
    recipe: Recipe
    force: bool
    sketches: Path | None = None

    @property
    def shutdown_timeout_s(self) -> int:
        """Seconds from SIGTERM to SIGKILL."""
        return _STEP_TIMEOUT_S + round(self.recipe.shutdown_grace_s)


class WorkerEvent(BaseModel):
    """A line of JSON that a worker process prints, with one of these fields.

    Attributes
    ----------
    step : tuple of int
        Steps done and steps in total.
    tracing : tuple of int
        Drawings traced and drawings in total.
    log : dict of str to float
        The latest line of metrics.jsonl.
    epoch : tuple of int and dict
        Epochs done and the metrics of the epoch.
    upload_error : str
        Message for a failed upload; empty after recovery.
    result : TrainedRun
        The finished run.
    stopped : str
        Training was stopped on request; what was saved.
    error : tuple of str
        Class and message of an IcanvasError.
    unexpected_error : str
        Class and message of another exception. Processes whose peer has died report one, too.
    """

    model_config = ConfigDict(extra="forbid")

    step: tuple[int, int] | None = None
    tracing: tuple[int, int] | None = None
    log: dict[str, float] | None = None
    epoch: tuple[int, dict[str, float]] | None = None
    upload_error: str | None = None
    result: TrainedRun | None = None
    stopped: str | None = None
    error: tuple[str, str] | None = None
    unexpected_error: str | None = None


def count_processes(requested: str, batch: int) -> int:
    """Return how many processes train together.

    Parameters
    ----------
    requested : str
        A number, or ``auto`` for one process per GPU.
    batch : int
        Pairs per step, which the processes share.

    Returns
    -------
    int
        1 to ``batch``.

    Raises
    ------
    InputError
        If there are fewer GPUs, or fewer pairs per step.

    Examples
    --------
    >>> count_processes("1", batch=4)
    1
    """
    gpus = torch.cuda.device_count()
    if requested == "auto":
        return max(1, min(gpus, batch))
    count = int(requested)
    if gpus and count > gpus:
        raise InputError(
            f"--processes {count}: each process needs its own GPU, and this machine has {gpus}."
        )
    if count > batch:
        raise InputError(
            f"--processes {count}: a step has only batch={batch} pairs to share. Use fewer "
            f"processes, or --set batch={count}."
        )
    return count


def launch_distributed(
    num_processes: int,
    worker_config: WorkerConfig,
    callbacks: TrainingCallbacks = NO_CALLBACKS,
    sketches: Sequence[NDArray[np.uint8]] = (),
    on_output: Callable[[str], None] = lambda _: None,
) -> TrainedRun:
    """Train in several child processes of torchrun, as ``model.training.train`` does in this one.

    If this process ends in any way, the children save a checkpoint and end.

    Parameters
    ----------
    num_processes : int
        Number of worker processes.
    worker_config : WorkerConfig
        What to train.
    callbacks : TrainingCallbacks, optional
        As for ``model.training.train``. ``should_stop`` is called continuously; when it returns
        True, the processes get SIGTERM, and SIGKILL after ``worker_config.shutdown_timeout_s``.
    sketches : sequence of ndarray, optional
        As for ``model.training.train``.
    on_output : callable, optional
        Called with every line of the processes' output that is not an event.

    Returns
    -------
    TrainedRun

    Raises
    ------
    TrainingStopped
        After ``callbacks.should_stop`` returned True and all processes have ended.
    IcanvasError
        The error of ``model.training.train`` in a worker process, or if one ended without an error.
    """
    with TemporaryDirectory(prefix="icanvas-") as folder:
        if sketches:
            worker_config = worker_config.model_copy(
                update={"sketches": Path(folder) / "sketches.npz"}
            )
            np.savez(str(worker_config.sketches), *sketches)
        return _forward_events(
            _start_torchrun(num_processes, worker_config), worker_config, callbacks, on_output
        )


def _start_torchrun(num_processes: int, worker_config: WorkerConfig) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(
                f"--nproc-per-node={num_processes}",
                f"--shutdown-timeout={worker_config.shutdown_timeout_s}",
            ),
            *("-m", "model", worker_config.model_dump_json()),
        ],
        # The processes share the cores.
        env={"OMP_NUM_THREADS": str(max(1, get_usable_cores() // num_processes)), **worker_env()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Compilers and drivers may print invalid UTF-8.
        errors="replace",
        # Ctrl-C reaches only this process, which sends SIGTERM.
        start_new_session=True,
    )


def _forward_events(
    process: subprocess.Popen[str],
    worker_config: WorkerConfig,
    callbacks: TrainingCallbacks,
    on_output: Callable[[str], None],
) -> TrainedRun:
    final_events: list[WorkerEvent] = []
    stop_requested = was_killed = False
    try:
        for line in _read_lines(process):
            if not stop_requested and callbacks.should_stop():
                stop_requested = True
                process.terminate()
            event = _parse_event(line)
            if event is None:
                if line.strip():
                    on_output(line)
                # torchrun's report lists the process that failed first at its end.
                was_killed = "SIGKILL" in line if "exitcode" in line else was_killed
            elif event.step:
                callbacks.on_step(*event.step)
            elif event.tracing:
                callbacks.on_tracing(*event.tracing)
            elif event.log:
                callbacks.on_log(event.log)
            elif event.upload_error is not None:
                callbacks.on_upload_error(event.upload_error)
            elif event.epoch:
                callbacks.on_epoch(*event.epoch)
            else:
                final_events.append(event)
    finally:
        # Workers that are still running handle the end of their stdin like SIGTERM.
        _close_stdin(process)
    return _get_result(final_events, worker_config.dataset, stop_requested, was_killed)


def worker_env() -> dict[str, str]:
    """Return an environment in which ``python -m model`` always runs this package."""
    root = str(Path(__file__).parents[2])
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        # Otherwise a folder "model" in the working directory would be found first.
        "PYTHONSAFEPATH": "1",
    }


def _read_lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield the lines of a process and its children until they end, and empty lines while idle."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read(pipe: IO[str]) -> None:
        try:
            for line in pipe:
                lines.put(line.rstrip("\n"))
        finally:
            lines.put(None)

    assert process.stdout is not None and process.stderr is not None
    pipes = [process.stdout, process.stderr]
    for pipe in pipes:
        threading.Thread(target=read, args=(pipe,), daemon=True).start()
    open_pipes = len(pipes)
    while open_pipes:
        try:
            line = lines.get(timeout=_POLL_INTERVAL_S)
        except queue.Empty:
            # torchrun itself may have been killed, which leaves its workers running.
            if process.poll() is not None:
                _close_stdin(process)
            line = ""
        if line is None:
            open_pipes -= 1
        else:
            yield line
    process.wait()


def _parse_event(line: str) -> WorkerEvent | None:
    try:
        return WorkerEvent.model_validate_json(line)
    except ValidationError:
        return None


def _close_stdin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()


def _get_result(
    events: list[WorkerEvent], dataset: str, stop_requested: bool, was_killed: bool
) -> TrainedRun:
    """Return the finished run, or raise the error that ended it."""
    for event in events:
        if event.result:
            return event.result
    for event in events:
        if event.error:
            class_name, text = event.error
            raise getattr(config.errors, class_name)(text)
    stopped = next((event.stopped for event in events if event.stopped), None)
    if stopped and stop_requested:
        raise TrainingStopped(stopped)
    if stopped:
        reason = "was stopped from outside"
    elif was_killed:
        reason = "was killed, possibly because memory ran out"
    else:
        errors = (event.unexpected_error for event in events if event.unexpected_error)
        reason = f"ended unexpectedly ({next(errors, 'it reported no error')})"
    raise IcanvasError(
        f"{dataset}: a training process {reason}. Run the same command to resume from the last "
        "checkpoint; --verbose shows the output of the processes."
    )
