"""Ctrl-C for every thread: Python raises it in the main one only, and shards are done in others."""

import signal
import threading
from types import FrameType

_interrupted = threading.Event()


def catch_interrupts() -> None:
    """From now on Ctrl-C ends shards in progress, too. Call in the main thread."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt in this thread after a Ctrl-C. Call between pictures."""
    if _interrupted.is_set():
        raise KeyboardInterrupt
