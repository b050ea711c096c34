"""One of the processes that train a run together: ``torchrun -m model ORDER``; see ``launch``."""

import os
import signal
import stat
import sys
import threading
import time

import numpy as np
from numpy.typing import NDArray

from config.errors import IcanvasError
from model.training.callbacks import TrainingCallbacks, TrainingStopped
from model.training.distributed import init_distributed
from model.training.launch import WorkerConfig, WorkerEvent
from model.training.train import train
from storage import open_store

# So that a line of several processes stays one: what a pipe takes at once, less the rest of it.
_MAX_MESSAGE_LENGTH = 3_000


def main(worker_config: WorkerConfig) -> None:
    """Train, and say so; ends the process with an error's exit code."""
    stop_requested = install_signal_handlers(worker_config.shutdown_timeout_s)

    def write_event(message: WorkerEvent) -> None:
        try:
            # In one write: other threads speak, too.
            sys.stdout.write(message.model_dump_json(exclude_defaults=True) + "\n")
            sys.stdout.flush()
        except OSError:
            # Nobody is there any more.
            stop_requested.set()

    with init_distributed() as crew:
        report = write_event if crew.is_main_process else lambda _: None
        try:
            run = train(
                open_store(worker_config.store),
                worker_config.dataset,
                worker_config.pairs,
                worker_config.recipe,
                worker_config.force,
                TrainingCallbacks(
                    on_tracing=lambda *traced: report(WorkerEvent(tracing=traced)),
                    on_step=lambda *step: report(WorkerEvent(step=step)),
                    on_log=lambda line: report(WorkerEvent(log=line)),
                    on_epoch=lambda *epoch: report(WorkerEvent(epoch=epoch)),
                    on_upload_error=lambda what: report(
                        WorkerEvent(upload_error=what[:_MAX_MESSAGE_LENGTH])
                    ),
                    should_stop=stop_requested.is_set,
                ),
                sketches=read_sketches(worker_config),
                context=crew,
            )
            report(WorkerEvent(result=run))
        except TrainingStopped as stopped:
            report(WorkerEvent(stopped=str(stopped)))
        except Exception as error:
            if isinstance(error, IcanvasError):
                write_event(
                    WorkerEvent(error=(type(error).__name__, str(error)[:_MAX_MESSAGE_LENGTH]))
                )
            else:
                write_event(
                    WorkerEvent(
                        unexpected_error=f"{type(error).__name__}: {error}"[:_MAX_MESSAGE_LENGTH]
                    )
                )
                sys.excepthook(*sys.exc_info())
            # Not by way of the others, who may wait for this one in the middle of a step.
            sys.stderr.flush()
            os._exit(getattr(error, "exit_code", 1))


def read_sketches(worker_config: WorkerConfig) -> list[NDArray[np.uint8]]:
    """Return the drawings by hand that an order names, in their order."""
    if worker_config.sketches is None:
        return []
    with np.load(worker_config.sketches) as file:
        return [file[name] for name in file.files]


def install_signal_handlers(shutdown_timeout_s: int) -> threading.Event:
    """Return what is set by SIGTERM, by Ctrl-C, and by the end of the process that started us.

    After that end so many seconds are left.
    """
    stop_requested = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop_requested.set())

    def wait_for_parent_exit() -> None:
        while os.read(0, 1):
            pass
        stop_requested.set()
        time.sleep(shutdown_timeout_s)
        os._exit(1)

    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=wait_for_parent_exit, daemon=True).start()
    return stop_requested


if __name__ == "__main__":
    main(WorkerConfig.model_validate_json(sys.argv[1]))
