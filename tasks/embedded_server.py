"""Prefect's embedded API in a session of its own: Ctrl-C does not reach it, and it ends with us."""

import os
import subprocess
import sys
import tempfile

import httpx

from config.errors import IcanvasError, InputError

# Prefect would start this server itself, as our child: Ctrl-C would end it before our last words
# to it (minutes of retries), and `kill -9` would leave it behind. Our end, however it comes, closes
# the pipe that the starter waits on.
_STARTER = """
import sys
from prefect.server.api.server import SubprocessASGIServer
server = SubprocessASGIServer()
server.start()
print(server.api_url, flush=True)
sys.stdin.read()
server.stop()
"""


def start_embedded_api() -> None:
    """Start Prefect's temporary server and point Prefect at it, unless a server is configured.

    Call before any flow runs. The server stops when this process has ended.

    Raises
    ------
    IcanvasError
        If it does not start; the message holds its last line.
    InputError
        If the configured server does not answer.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_API_URL

    if configured := PREFECT_API_URL.value():
        _check_answer(configured)
        return
    _spare_from_proxy()
    # A file, for nobody reads a pipe while the flow runs, and a full one would stop the server.
    with tempfile.TemporaryFile("w+") as errors:
        starter = subprocess.Popen(
            [sys.executable, "-c", _STARTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        assert starter.stdout is not None
        url = starter.stdout.readline().strip()
        if not url:
            errors.seek(0)
            said = errors.read().strip().splitlines() or ["no output"]
            raise IcanvasError(
                f"Prefect's embedded server did not start: {said[-1]} "
                "Run `prefect server start` to see why, or set PREFECT_API_URL."
            )
    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()


def _spare_from_proxy() -> None:
    """Let what is asked of this machine itself not go through a proxy, which could not answer."""
    for name in ("NO_PROXY", "no_proxy"):
        spared = [host for host in os.environ.get(name, "").split(",") if host.strip()]
        if "*" not in spared:
            own = (host for host in ("127.0.0.1", "localhost") if host not in spared)
            os.environ[name] = ",".join([*spared, *own])


def _check_answer(url: str) -> None:
    try:
        httpx.get(f"{url}/health", timeout=10).raise_for_status()
    except httpx.HTTPError as error:
        raise InputError(
            f"The Prefect server on {httpx.URL(url).host} does not answer "
            f"({type(error).__name__}). Start it, or unset PREFECT_API_URL to do without."
        ) from error
