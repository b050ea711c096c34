"""A worker process of distributed training: ``torchrun -m model WORKER_CONFIG``; see ``launch``."""

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

# Writes of up to PIPE_BUF (4096) bytes are atomic, so lines of several processes do not mix.
_MAX_MESSAGE_LENGTH = 3_000


def main(worker_config: WorkerConfig) -> None:
    """Train, and report to the launching process on stdout.

    On an error the process exits with the error's exit code.

    Parameters
    ----------
    worker_config : WorkerConfig
        What to train.
    """
    stop_requested = install_signal_handlers(worker_config.shutdown_timeout_s)

    def write_event(message: WorkerEvent) -> None:
        try:
            # One write, because other threads write, too.
            sys.stdout.write(message.model_dump_json(exclude_defaults=True) + "\n")
            sys.stdout.flush()
        except OSError:
            # The launching process has ended.
            stop_requested.set()

    with init_distributed() as context:
        report = write_event if context.is_main_process else lambda _: None
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
                context=context,
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
            # No orderly exit: the other processes may be waiting for this one in a collective.
            sys.stderr.flush()
            os._exit(getattr(error, "exit_code", 1))


def read_sketches(worker_config: WorkerConfig) -> list[NDArray[np.uint8]]:
    """Read the sketches of a worker configuration.

    Parameters
    ----------
    worker_config : WorkerConfig
        Names the file, or None.

    Returns
    -------
    list of ndarray
        uint8, in the order of the file; empty without a file.
    """
    if worker_config.sketches is None:
        return []
    with np.load(worker_config.sketches) as file:
        return [file[name] for name in file.files]


def install_signal_handlers(shutdown_timeout_s: int) -> threading.Event:
    """Handle SIGTERM, SIGINT and the end of the parent process, which closes our stdin.

    Parameters
    ----------
    shutdown_timeout_s : int
        Seconds from the end of the parent process to the forced exit of this one.

    Returns
    -------
    threading.Event
        Set by any of the three.
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
