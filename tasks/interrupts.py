"""Ctrl-C and SIGTERM for all threads.

Python delivers signals to the main thread only; shards are extracted in other threads.
"""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from prefect.exceptions import TerminationSignal

_interrupted = threading.Event()


def handle_sigint() -> None:
    """Install a SIGINT handler that also stops shards in progress. Call in the main thread."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)


@contextmanager
def handle_sigterm() -> Iterator[None]:
    """Let SIGTERM also stop shards in progress during the block.

    A worker cancels a run with SIGTERM. Prefect's handler raises `TerminationSignal` in the main
    thread and then waits for the other threads. It must stay installed: with another handler, a
    canceled run would be marked crashed.
    """
    try:
        yield
    except TerminationSignal:
        _interrupted.set()
        # Pool processes do not get the signal. The next run extracts what they leave.
        for child in multiprocessing.active_children():
            child.terminate()
        raise


def raise_if_interrupted() -> None:
    """Raise if SIGINT or SIGTERM arrived. Call between pictures, in any thread.

    Raises
    ------
    KeyboardInterrupt
    """
    if _interrupted.is_set():
        raise KeyboardInterrupt
