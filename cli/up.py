"""``icanvas up`` and ``icanvas deploy``: Prefect with all that icanvas needs."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from cli.console import console, err_console, print_locations
from cli.options import Cache, Engine, Store
from config.errors import IcanvasError
from config.settings import get_settings, override_settings, export_paths_to_env


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
    export_paths_to_env()
    from flows.local_stack import SIGNALS, LocalStack

    logs = get_settings().cache / "up"
    with _stop_signals(SIGNALS), LocalStack(host, port, draw_port, logs) as stack:
        err_console.print(
            "starting Prefect's server, the deployments, two workers and the drawing page …"
        )
        stack.start()
        console.print("[bold]icanvas is up[/]; Ctrl-C stops it.\n")
        print_locations([*stack.addresses, ("store", get_settings().store), ("logs", str(logs))])
        console.print(f"\nTry: {stack.addresses[0][1]}/deployments, `prepare`, quick run, `demo`.")
        stopped_process = stack.wait()
        raise IcanvasError(
            f"{stopped_process} ended unasked. Its log is {logs / stopped_process}.log."
        )


def deploy() -> None:
    """Create pools, deployments and the automation for dead workers on your Prefect server."""
    from flows.server_setup import set_up_server

    set_up_server()
    console.print("Work pools, deployments and automation are in place. Next, on each worker:")
    console.print("  prefect worker start --pool extract --type process     (or gpu)")


class _StopRequested(BaseException):
    """One of them came."""


@contextmanager
def _stop_signals(signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    """End the block quietly on a signal; a second one does not cut the stopping short."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        err_console.print("\nstopping …")
        raise _StopRequested

    for number in signals:
        signal.signal(number, stop)
    try:
        yield
    except _StopRequested:
        console.print("All has stopped. Runs that were cut short can be retried.")
