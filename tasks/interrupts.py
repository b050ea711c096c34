"""Passes Ctrl-C (SIGINT) and SIGTERM on to all threads.

Python handles signals in the main thread only, but shards are extracted in other threads.
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
    """Install a SIGINT handler that also stops shards in progress.

    Call this function in the main thread.
    """

    def handler(_number: int, _frame: FrameType | None) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)


@contextmanager
def handle_sigterm() -> Iterator[None]:
    """Stop shards in progress if SIGTERM arrives during the block.

    A worker cancels a run with SIGTERM. Prefect's handler raises `TerminationSignal` in the main
    thread and then waits for the other threads. That handler stays installed, because Prefect
    would otherwise mark a canceled run as crashed.

    Raises
    ------
    TerminationSignal
        If SIGTERM arrived; the exception is passed on.
    """
    try:
        yield
    except TerminationSignal:
        _interrupted.set()
        # Pool processes do not receive the signal. The next run extracts their unfinished shards.
        for child in multiprocessing.active_children():
            child.terminate()
        raise


def raise_if_interrupted() -> None:
    """Raise `KeyboardInterrupt` if SIGINT or SIGTERM arrived.

    Call this function between pictures, in any thread.

    Raises
    ------
    KeyboardInterrupt
        If a signal arrived.
    """
    if _interrupted.is_set():
        raise KeyboardInterrupt
