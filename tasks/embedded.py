"""Prefect's embedded API, started where its seconds can be shown and never left behind."""

import subprocess

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL


def start_embedded_api() -> None:
    """Start Prefect's temporary server, unless a server is configured.

    Prefect would do so by itself at the first flow; its clients find this very instance, and its
    own exit handler stops it after the last log line has been sent. Killed with ``kill -9`` this
    process could not, so a small shell waits for its end, however it comes, and does.
    """
    if PREFECT_API_URL.value():
        return
    server = SubprocessASGIServer()
    server.start()
    process = server.server_process
    assert process is not None, "start() returns with the server running"
    # Its input closes with this process; nobody reaps it before, for it outlives us.
    subprocess.Popen(
        ["/bin/sh", "-c", f"read _; kill {process.pid} 2>/dev/null"],
        stdin=subprocess.PIPE,
        # Ctrl-C goes to the whole foreground group; the guard must stay.
        start_new_session=True,
    )
