"""Starts Prefect's temporary API server in a separate session.

The server does not receive Ctrl-C, and it stops when this process ends.
"""

import os
import subprocess
import sys
import tempfile

import httpx

from config.errors import IcanvasError, InputError

# Prefect itself starts this server in the session of this process. Ctrl-C would then stop the
# server before the final states are reported, which causes minutes of retries, and `kill -9` would
# leave the server running. This script waits on a pipe that closes whenever this process ends.
_STARTER_SCRIPT = """
import sys
from prefect.server.api.server import SubprocessASGIServer
server = SubprocessASGIServer()
server.start()
print(server.api_url, flush=True)
sys.stdin.read()
server.stop()
"""


def start_embedded_api() -> None:
    """Start Prefect's temporary server and set ``PREFECT_API_URL``, unless a server is configured.

    Call this function before any flow runs.

    Raises
    ------
    IcanvasError
        If the server does not start. The message contains the last line of its output.
    InputError
        If ``PREFECT_API_URL`` is set and that server does not respond.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_API_URL

    if configured := PREFECT_API_URL.value():
        _check_server(configured)
        return
    _bypass_proxy_for_localhost()
    # Not a pipe: nothing reads stderr while the flow runs, and a full pipe would block the server.
    with tempfile.TemporaryFile("w+") as errors:
        starter = subprocess.Popen(
            [sys.executable, "-c", _STARTER_SCRIPT],
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
            output_lines = errors.read().strip().splitlines() or ["no output"]
            raise IcanvasError(
                f"Prefect's embedded server did not start: {output_lines[-1]} "
                "Run `prefect server start` to see why, or set PREFECT_API_URL."
            )
    os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()


def _bypass_proxy_for_localhost() -> None:
    """Add localhost to NO_PROXY, because a proxy cannot reach this machine's loopback address."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host.strip()]
        if "*" not in hosts:
            missing = (host for host in ("127.0.0.1", "localhost") if host not in hosts)
            os.environ[name] = ",".join([*hosts, *missing])


def _check_server(url: str) -> None:
    try:
        httpx.get(f"{url}/health", timeout=10).raise_for_status()
    except httpx.HTTPError as error:
        raise InputError(
            f"The Prefect server on {httpx.URL(url).host} does not answer "
            f"({type(error).__name__}). Start it, or unset PREFECT_API_URL to run without one."
        ) from error
