"""Prefect's embedded API, started once a command and never left behind."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL


@contextmanager
def embedded_api() -> Iterator[None]:
    """Run Prefect's temporary server for the time of the block, unless a server is configured.

    Prefect would start it by itself at the first flow; here it is started where its seconds can
    be shown. Prefect's clients find this very instance. Killed with ``kill -9``, this process
    could not end it, so a small shell waits for that and does.
    """
    if PREFECT_API_URL.value():
        yield
        return
    server = SubprocessASGIServer()
    server.start()
    process = server.server_process
    assert process is not None, "start() returns with the server running"
    # The shell's input closes when this process ends, however it ends.
    guard = subprocess.Popen(
        ["/bin/sh", "-c", f"read _; kill {process.pid} 2>/dev/null"], stdin=subprocess.PIPE
    )
    try:
        yield
    finally:
        server.stop()
        guard.kill()
        guard.wait()
