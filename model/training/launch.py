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
from config.settings import usable_cores
from model.training.callbacks import NO_HOOKS, Hooks, TrainingStopped
from model.training.train import TrainedRun

# Seconds from SIGTERM to SIGKILL besides the recipe's grace period, which a checkpoint has to get
# into the store: for the step in progress, and for writing.
_STEP = 60

# Seconds from one look at whether to stop to the next, where nothing is printed.
_LOOK_EVERY = 0.2


class Order(BaseModel):
    """What each process is asked to do; see ``model.training.train``."""

    model_config = ConfigDict(extra="forbid")

    store: str
    dataset: str
    pairs: str
    recipe: Recipe
    refresh: bool
    # Of an .npz file with the drawings by hand.
    sketches: Path | None = None

    @property
    def patience(self) -> int:
        """Seconds that the processes have to end in once they are asked to."""
        return _STEP + round(self.recipe.grace)


class Message(BaseModel):
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
    traced: tuple[int, int] | None = None
    line: dict[str, float] | None = None
    epoch: tuple[int, dict[str, float]] | None = None
    trouble: str | None = None
    done: TrainedRun | None = None
    stopped: str | None = None
    error: tuple[str, str] | None = None
    lost: str | None = None


def count_processes(wanted: str, batch: int) -> int:
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
    if wanted == "auto":
        return max(1, min(gpus, batch))
    count = int(wanted)
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


def train_together(
    count: int,
    order: Order,
    hooks: Hooks = NO_HOOKS,
    sketches: Sequence[NDArray[np.uint8]] = (),
    on_log: Callable[[str], None] = lambda _: None,
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
            order = order.model_copy(update={"sketches": Path(folder) / "sketches.npz"})
            np.savez(str(order.sketches), *sketches)
        return _follow(_start(count, order), order, hooks, on_log)


def _start(count: int, order: Order) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(f"--nproc-per-node={count}", f"--shutdown-timeout={order.patience}"),
            *("-m", "model", order.model_dump_json()),
        ],
        # The cores are shared out among them.
        env={"OMP_NUM_THREADS": str(max(1, usable_cores() // count)), **own_environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A compiler or a driver may say what is no text.
        errors="replace",
        # Ctrl-C is ours to pass on.
        start_new_session=True,
    )


def _follow(
    child: subprocess.Popen[str], order: Order, hooks: Hooks, on_log: Callable[[str], None]
) -> TrainedRun:
    told: list[Message] = []
    stopping = killed = False
    try:
        for line in _lines(child):
            if not stopping and hooks.should_stop():
                stopping = True
                child.terminate()
            message = _parse(line)
            if message is None:
                if line.strip():
                    on_log(line)
                # Torchrun's account ends with the process that began it.
                killed = "SIGKILL" in line if "exitcode" in line else killed
            elif message.step:
                hooks.on_step(*message.step)
            elif message.traced:
                hooks.on_trace(*message.traced)
            elif message.line:
                hooks.on_line(message.line)
            elif message.trouble is not None:
                hooks.on_trouble(message.trouble)
            elif message.epoch:
                hooks.on_epoch(*message.epoch)
            else:
                told.append(message)
    finally:
        # Where they have not ended: they take the end of their input for a SIGTERM.
        _close(child)
    return _conclude(told, order.dataset, stopping, killed)


def own_environment() -> dict[str, str]:
    """Return the environment in which ``python -m model`` is this package, wherever it is run."""
    root = str(Path(__file__).parents[2])
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        # A folder "model" in the user's own one is none of ours.
        "PYTHONSAFEPATH": "1",
    }


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what a process and its children print, and now and then an empty line, to the end."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read(pipe: IO[str]) -> None:
        try:
            for line in pipe:
                lines.put(line.rstrip("\n"))
        finally:
            lines.put(None)

    assert child.stdout is not None and child.stderr is not None
    pipes = [child.stdout, child.stderr]
    for pipe in pipes:
        threading.Thread(target=read, args=(pipe,), daemon=True).start()
    left = len(pipes)
    while left:
        try:
            line = lines.get(timeout=_LOOK_EVERY)
        except queue.Empty:
            # torchrun itself may have been killed.
            if child.poll() is not None:
                _close(child)
            line = ""
        if line is None:
            left -= 1
        else:
            yield line
    child.wait()


def _parse(line: str) -> Message | None:
    try:
        return Message.model_validate_json(line)
    except ValidationError:
        return None


def _close(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    with suppress(OSError):
        child.stdin.close()


def _conclude(told: list[Message], dataset: str, stopping: bool, killed: bool) -> TrainedRun:
    """Return the finished run, or raise what kept it from finishing."""
    for message in told:
        if message.done:
            return message.done
    for message in told:
        if message.error:
            kind, text = message.error
            raise getattr(config.errors, kind)(text)
    stopped = next((message.stopped for message in told if message.stopped), None)
    if stopped and stopping:
        raise TrainingStopped(stopped)
    if stopped:
        why = "was stopped from outside"
    elif killed:
        why = "was killed, as happens where memory runs out"
    else:
        why = f"ended early ({next((message.lost for message in told if message.lost), 'no word')})"
    raise IcanvasError(
        f"{dataset}: a training process {why}. The same command goes on from the last checkpoint; "
        "with --verbose it shows what the processes say."
    )
