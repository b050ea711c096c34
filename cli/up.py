"""``icanvas up`` and ``icanvas deploy``: Prefect with all that icanvas needs."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from cli.console import err, out, print_places
from cli.options import Cache, Engine, Store
from config.errors import IcanvasError
from config.settings import get_settings, override_settings, settle_places


def up(
    host: Annotated[
        str, typer.Option(help="Where all of it listens; 0.0.0.0 for everyone.", metavar="ADDRESS")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.", min=1, max=65534)] = 4200,
    draw_port: Annotated[
        int, typer.Option(help="Port of the drawing page.", min=1, max=65535)
    ] = 8080,
    store: Store = None,
    cache: Cache = None,
    engine: Engine = None,
) -> None:
    """Start Prefect with deployments and workers, and the drawing page; Ctrl-C stops all."""
    override_settings(store=store, cache=cache, engine=engine)
    # The workers run in the checkout.
    settle_places()
    from flows.local_stack import SIGNALS, Stack

    logs = get_settings().cache / "up"
    with _stop_signals(SIGNALS), Stack(host, port, draw_port, logs) as stack:
        err.print("starting Prefect's server, the deployments, two workers and the drawing page …")
        stack.start()
        out.print("[bold]icanvas is up[/]; Ctrl-C stops it.\n")
        print_places([*stack.addresses, ("store", get_settings().store), ("logs", str(logs))])
        out.print(f"\nTry: {stack.addresses[0][1]}/deployments, `prepare`, quick run, `demo`.")
        gone = stack.wait()
        raise IcanvasError(f"{gone} ended unasked. Its log is {logs / gone}.log.")


def deploy() -> None:
    """Create pools, deployments and the automation for dead workers on your Prefect server."""
    from flows.server_setup import set_up_server

    set_up_server()
    out.print("Work pools, deployments and automation are in place. Next, on each worker:")
    out.print("  prefect worker start --pool extract --type process     (or gpu)")


class _Stopped(BaseException):
    """One of them came."""


@contextmanager
def _stop_signals(numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    """End the block quietly on a signal; a second one does not cut the stopping short."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        err.print("\nstopping …")
        raise _Stopped

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    except _Stopped:
        out.print("All has stopped. Runs that were cut short can be retried.")
