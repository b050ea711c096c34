"""What is looked at before anything is loaded: who runs the server, and where it listens."""

import os
import socket

from config.errors import InputError
from serving.settings import ServeSettings

# Connections that wait for the loop.
_BACKLOG = 2048


def check_not_root(settings: ServeSettings) -> None:
    """Refuse to run as root unless that is wanted.

    Raises
    ------
    InputError
        If this is root.
    """
    if os.geteuid() == 0 and not settings.allow_root:
        raise InputError(
            "The server does not run as root: it reads what strangers send. Start it as another "
            "user (docs/serving.md), or set ICANVAS_SERVE_ALLOW_ROOT=1 where root has no rights."
        )


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises
    ------
    InputError
        If the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"The server cannot listen on {host}, port {port}: {reason}. Choose another with --host "
            "and --port."
        ) from None
