"""The process: a socket, a loop, and an end that loses nothing."""

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
    """Serve until SIGTERM or Ctrl-C; then what was accepted is finished.

    Parameters
    ----------
    house : the server's parts.
    listener : from ``serving.startup.open_socket``.
    ready : is called before the first request is taken.
    """
    server = create_server(state)
    # What uvicorn says of itself is for its developers.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # uvicorn handles both while it runs, and raises them once more at its end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore_signal)
    on_ready()
    server.run(sockets=[listener])


def _ignore_signal(_number: int, _frame: FrameType | None) -> None:
    """All is done by then."""


def create_server(state: AppState) -> uvicorn.Server:
    """Return the HTTP server of a house."""
    settings = state.settings
    return uvicorn.Server(
        uvicorn.Config(
            create_app(state),
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            # Who asks for what is nobody's business.
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=split_list(settings.trusted_proxies),
            timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout),
        )
    )
