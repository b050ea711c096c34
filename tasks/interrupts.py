"""Ctrl-C and SIGTERM for every thread: Python tells the main one only, and others do shards."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from prefect.exceptions import TerminationSignal

_interrupted = threading.Event()


def catch_interrupts() -> None:
    """From now on Ctrl-C ends shards in progress, too. Call in the main thread."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


@contextmanager
def heed_termination() -> Iterator[None]:
    """For the time of the block, let SIGTERM end shards in progress, too.

    That is how a worker cancels a run: Prefect's handler raises in the main thread, and then waits
    for the others. A handler of ours in its place would make a cancelled run a crashed one.
    """
    try:
        yield
    except TerminationSignal:
        _interrupted.set()
        # Processes of a pool hear nothing of it; what they leave undone the next run does.
        for child in multiprocessing.active_children():
            child.terminate()
        raise


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt in this thread after either. Call between pictures."""
    if _interrupted.is_set():
        raise KeyboardInterrupt
