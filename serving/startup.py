"""Checks at startup, before models are loaded: the user, and the listening socket."""

import os
import socket

from config.errors import InputError
from serving.settings import ServeSettings

# Connections that the kernel queues until the event loop accepts them.
_BACKLOG = 2048


def check_not_root(settings: ServeSettings) -> None:
    """Check that the process does not run as root, unless ``allow_root`` is set.

    Parameters
    ----------
    settings : ServeSettings
        Settings of the server.

    Raises
    ------
    InputError
        If it runs as root.
    """
    if os.geteuid() == 0 and not settings.allow_root:
        raise InputError(
            "The server does not run as root, because it decodes untrusted files. Start it as "
            "another user (docs/serving.md), or set ICANVAS_SERVE_ALLOW_ROOT=1 if root has no "
            "privileges here, as in a rootless container."
        )


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Parameters
    ----------
    host : str
        Host name, IPv4 or IPv6 address.
    port : int
        Port in [0, 65535]; 0 for any free port.

    Raises
    ------
    InputError
        If the address is not available.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"The server cannot listen on {host}, port {port}: {reason}. Choose another with "
            "--host and --port."
        ) from None
