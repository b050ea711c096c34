import signal
import subprocess
import sys
from collections.abc import Iterator
from types import FrameType

import pytest

from flows.local_stack import SIGNALS, _defer_signals


class Stopped(BaseException):
    pass


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Install signal handlers as `icanvas up` does."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    previous_handlers = {number: signal.signal(number, stop) for number in SIGNALS}
    yield
    for number, handler in previous_handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_is_deferred_until_process_is_registered(number: signal.Signals) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with _defer_signals():
            signal.raise_signal(number)
            process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            signal.raise_signal(number)
            started.append(process)

    with pytest.raises(Stopped):
        start()
    assert started
    # The started process must not ignore signals.
    started[0].send_signal(signal.SIGTERM)
    assert started[0].wait(30) == -signal.SIGTERM
    with pytest.raises(Stopped):
        signal.raise_signal(number)


def test_handlers_are_restored_without_signal() -> None:
    with _defer_signals():
        pass
    assert all(callable(signal.getsignal(number)) for number in SIGNALS)
