"""The server process: runs uvicorn, and finishes accepted requests on shutdown."""

import logging
import math
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from serving.app import create_app
from serving.settings import split_list
from serving.state import AppState


def run_server(state: AppState, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or Ctrl-C, and finish the accepted requests.

    Parameters
    ----------
    state : AppState
        Components of the server.
    listener : socket
        From ``serving.startup.open_socket``.
    on_ready : callable
        Called before the first request is accepted.
    """
    server = create_server(state)
    # uvicorn's own start and stop messages are not needed.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # uvicorn handles both signals while it runs, and raises them again when it ends.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore_signal)
    on_ready()
    server.run(sockets=[listener])


def _ignore_signal(_number: int, _frame: FrameType | None) -> None:
    """Ignore the signal that uvicorn raises again; the shutdown is already done."""


def create_server(state: AppState) -> uvicorn.Server:
    """Return the HTTP server.

    Parameters
    ----------
    state : AppState
        Components of the server.
    """
    settings = state.settings
    return uvicorn.Server(
        uvicorn.Config(
            create_app(state),
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            # Requests are not logged, for the users' privacy.
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=split_list(settings.trusted_proxies),
            timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout),
        )
    )
