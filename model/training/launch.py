"""Start a run that several processes train together, follow what they say, and end it."""

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

# Seconds from SIGTERM to SIGKILL besides the recipe's grace period, which a checkpoint has to get
# into the store: for the step in progress, and for writing.
_STEP_TIMEOUT_S = 60

# Seconds from one look at whether to stop to the next, where nothing is printed.
_POLL_INTERVAL_S = 0.2


class WorkerConfig(BaseModel):
    """What each process is asked to do; see ``model.training.train``."""

    model_config = ConfigDict(extra="forbid")

    store: str
    dataset: str
    pairs: str
    recipe: Recipe
    force: bool
    # Of an .npz file with the drawings by hand.
    sketches: Path | None = None

    @property
    def shutdown_timeout_s(self) -> int:
        """Seconds that the processes have to end in once they are asked to."""
        return _STEP_TIMEOUT_S + round(self.recipe.shutdown_grace_s)


class WorkerEvent(BaseModel):
    """A line that a process prints: what happened, one field of these.

    Attributes
    ----------
    step : steps done and steps in all.
    traced : drawings traced and drawings in all.
    line : the newest of metrics.jsonl.
    epoch : epochs done and the epoch's figures.
    trouble : what keeps files from the store; nothing when it is over.
    done : the finished run.
    stopped : it was asked to stop, and what it had done is kept as this says.
    error : class and text of an IcanvasError.
    lost : what else went wrong; where another process has ended, the others meet it as this.
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
    wanted : a number, or ``auto`` for one on each GPU.
    batch : pairs a step, which they share.

    Raises
    ------
    InputError
        If there are fewer GPUs, or fewer pairs a step.
    """
    gpus = torch.cuda.device_count()
    if requested == "auto":
        return max(1, min(gpus, batch))
    count = int(requested)
    if gpus and count > gpus:
        raise InputError(
            f"--processes {count}: each trains on a GPU of its own, and there are {gpus} here."
        )
    if count > batch:
        raise InputError(
            f"--processes {count}: a step has batch={batch} pairs to share. Take fewer processes, "
            f"or --set batch={count}."
        )
    return count


def launch_distributed(
    num_processes: int,
    worker_config: WorkerConfig,
    callbacks: TrainingCallbacks = NO_CALLBACKS,
    sketches: Sequence[NDArray[np.uint8]] = (),
    on_output: Callable[[str], None] = lambda _: None,
) -> TrainedRun:
    """Train in so many child processes, which torchrun starts.

    As ``model.training.train`` does in this one.

    They end when this process does, however that comes about, and keep a checkpoint first.

    Parameters
    ----------
    count : how many.
    order : what to train.
    hooks : as of ``model.training.train``, but whether to stop is asked all the time: at yes the
        processes get SIGTERM, and SIGKILL when the order's patience is at its end.
    sketches : as of ``model.training.train``.
    on_log : called with every other line that they print.

    Raises
    ------
    TrainingStopped
        After ``hooks.should_stop`` said yes and all have ended.
    IcanvasError
        Whatever ``model.training.train`` raised in one of them; or, where one ended without a word,
        that.
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
        # The cores are shared out among them.
        env={"OMP_NUM_THREADS": str(max(1, get_usable_cores() // num_processes)), **worker_env()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A compiler or a driver may say what is no text.
        errors="replace",
        # Ctrl-C is ours to pass on.
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
                # Torchrun's account ends with the process that began it.
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
        # Where they have not ended: they take the end of their input for a SIGTERM.
        _close_stdin(process)
    return _get_result(final_events, worker_config.dataset, stop_requested, was_killed)


def worker_env() -> dict[str, str]:
    """Return the environment in which ``python -m model`` is this package, wherever it is run."""
    root = str(Path(__file__).parents[2])
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        # A folder "model" in the user's own one is none of ours.
        "PYTHONSAFEPATH": "1",
    }


def _read_lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what a process and its children print, and now and then an empty line, to the end."""
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
            # torchrun itself may have been killed.
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
    """Return the finished run, or raise what kept it from finishing."""
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
        reason = "was killed, as happens where memory runs out"
    else:
        errors = (event.unexpected_error for event in events if event.unexpected_error)
        reason = f"ended early ({next(errors, 'it reported no error')})"
    raise IcanvasError(
        f"{dataset}: a training process {reason}. Run the same command to resume from the last "
        "checkpoint; --verbose shows the output of the processes."
    )
