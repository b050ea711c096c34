"""``icanvas up`` and ``icanvas deploy``: Prefect with everything that icanvas needs."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from cli.console import console, err_console, print_locations
from cli.options import Cache, Engine, Store
from config.errors import IcanvasError
from config.settings import export_paths_to_env, get_settings, override_settings


def up(
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; 0.0.0.0 for all interfaces.", metavar="ADDRESS"),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of Prefect's server.", min=1, max=65534)] = 4200,
    draw_port: Annotated[
        int, typer.Option(help="Port of the drawing page.", min=1, max=65535)
    ] = 8080,
    store: Store = None,
    cache: Cache = None,
    engine: Engine = None,
) -> None:
    """Start Prefect with deployments and workers, and the drawing page; Ctrl-C stops everything."""
    override_settings(store=store, cache=cache, engine=engine)
    # The workers run in another folder.
    export_paths_to_env()
    from flows.local_stack import SIGNALS, LocalStack

    logs = get_settings().cache / "up"
    with _stop_signals(SIGNALS), LocalStack(host, port, draw_port, logs) as stack:
        err_console.print(
            "Starting Prefect's server, the deployments, two workers and the drawing page …"
        )
        stack.start()
        console.print("[bold]icanvas is up[/]; Ctrl-C stops it.\n")
        print_locations([*stack.addresses, ("store", get_settings().store), ("logs", str(logs))])
        console.print(f"\nTry: {stack.addresses[0][1]}/deployments, `prepare`, quick run, `demo`.")
        stopped_process = stack.wait()
        raise IcanvasError(
            f"{stopped_process} exited unexpectedly. See its log {logs / stopped_process}.log."
        )


def deploy() -> None:
    """Create work pools, deployments and the automation for dead workers on a Prefect server."""
    from flows.server_setup import set_up_server

    set_up_server()
    console.print("Created work pools, deployments and automation. Next, on each worker:")
    console.print("  prefect worker start --pool extract --type process     (or gpu)")


class _StopRequested(BaseException):
    """Raised by the signal handler."""


@contextmanager
def _stop_signals(signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Leave the block without an error on a signal; further signals are ignored meanwhile."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        err_console.print("\nStopping …")
        raise _StopRequested

    for number in signals:
        signal.signal(number, stop)
    try:
        yield
    except _StopRequested:
        console.print("Everything has stopped. Interrupted runs can be retried.")
