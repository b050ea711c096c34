"""All services of icanvas on one machine, each a process with a log file.

The services are Prefect's server, a worker per work pool, the drawing page, and a file server for a
store in a local folder.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from config.errors import IcanvasError, InputError
from config.settings import get_settings, override_settings
from flows.server_setup import PACKAGE_ROOT, WORK_POOLS, set_up_server
from storage import LocalStore, open_store

# Sent by Ctrl-C, by a service manager, and when a terminal closes.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Creating a new database takes up to a minute on a busy machine.
_START_TIMEOUT_S = 300

# A worker gives its runs 30 seconds each, one after another.
_STOP_TIMEOUT_S = 90


@dataclass(frozen=True)
class Service:
    """A process of the stack.

    Attributes
    ----------
    name : str
        Name of the service and of its log file.
    command : list of str
        Command line.
    """

    name: str
    command: list[str]


class LocalStack:
    """Starts and stops all services. A context manager: leaving it stops them.

    Parameters
    ----------
    host : str
        Address that all services listen on.
    port : int
        Port of Prefect's server. The files of a store in a local folder are served on the next.
    drawing_port : int
        Port of the drawing page.
    log_folder : Path
        Folder for the log files.
    """

    def __init__(self, host: str, port: int, drawing_port: int, log_folder: Path) -> None:
        self._host, self._port, self._drawing_port, self._log_folder = (
            host,
            port,
            drawing_port,
            log_folder,
        )
        # Local clients reach a server that listens on all interfaces by its loopback address.
        self._client_host = "127.0.0.1" if host == "0.0.0.0" else host
        self._url = f"http://{self._client_host}:{port}"
        self._store = open_store(get_settings().store)
        self._running: list[tuple[Service, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def addresses(self) -> list[tuple[str, str]]:
        """Names and URLs of what can be opened in a browser."""
        drawing = ("drawing page", f"http://{self._client_host}:{self._drawing_port}")
        files = [("files", self._files_url)] if isinstance(self._store, LocalStore) else []
        return [("Prefect", self._url), drawing, *files]

    @property
    def _files_url(self) -> str:
        return f"http://{self._client_host}:{self._port + 1}"

    def start(self) -> None:
        """Start and configure the server, then start the workers and the drawing page.

        Raises
        ------
        InputError
            If another server is configured, or a port is in use.
        IcanvasError
            If a service does not start. The message names its log.
        """
        from prefect.context import refresh_global_settings_context
        from prefect.settings import PREFECT_API_URL

        if configured := PREFECT_API_URL.value():
            raise InputError(
                f"PREFECT_API_URL names the server on {httpx.URL(configured).host}, but this would "
                "start another one. Unset it, or run `icanvas deploy` and workers for that server."
            )
        ports = {"--port": self._port, "--draw-port": self._drawing_port}
        if isinstance(self._store, LocalStore):
            # Makes the objects that artifacts name into links.
            override_settings(store_web_url=get_settings().store_web_url or self._files_url)
            ports["--port (the store is served on the next port)"] = self._port + 1
        for option, port in ports.items():
            self._check_port(port, option)
        self._log_folder.mkdir(parents=True, exist_ok=True)
        self._launch(self._server())
        self._wait_for_server()
        os.environ["PREFECT_API_URL"] = f"{self._url}/api"
        refresh_global_settings_context()
        set_up_server()
        for service in self._services():
            self._launch(service)

    def wait(self) -> str:
        """Return the name of the first service that exits by itself."""
        while True:
            for service, process in self._running:
                if process.poll() is not None:
                    return service.name
            time.sleep(0.5)

    def stop(self) -> None:
        """Stop the workers with their runs, then the server, so that final states are reported."""
        # Another signal would leave processes running.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        while self._running:
            _terminate_group(self._running[-1][1])
            self._running.pop()

    def _server(self) -> Service:
        arguments = ["server", "start", "--host", self._host, "--port", str(self._port)]
        return Service("server", [sys.executable, "-m", "prefect", *arguments])

    def _services(self) -> list[Service]:
        """Return the services beside the server."""
        python = [sys.executable, "-m"]
        worker = [*python, "prefect", "worker", "start", "--type", "process"]
        services = [
            Service(f"worker-{pool}", [*worker, "--pool", pool, "--name", f"up-{pool}"])
            for pool in WORK_POOLS
        ]
        drawing = ["--host", self._host, "--port", str(self._drawing_port)]
        # A local stack may be started by root.
        services.append(Service("drawing", [*python, "cli", "serve", "--allow-root", *drawing]))
        if isinstance(self._store, LocalStore):
            files = [str(self._port + 1), "--bind", self._host, "--directory"]
            services.append(
                Service("files", [*python, "http.server", *files, str(self._store.root)])
            )
        return services

    def _launch(self, service: Service) -> None:
        # Browsers on other machines reach this one by another address, so the UI uses the address
        # of its own page. Leases in files survive a restart.
        leases = "prefect.server.concurrency.lease_storage.filesystem"
        settings = {
            "PREFECT_UI_API_URL": f"{self._url}/api" if self._client_host == self._host else "/api",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": leases,
            # Start runs without a noticeable delay.
            "PREFECT_WORKER_QUERY_SECONDS": "2",
        }
        # A process must be registered before a signal stops the stack.
        with (self._log_folder / f"{service.name}.log").open("wb") as log, _defer_signals():
            process = subprocess.Popen(
                service.command,
                cwd=PACKAGE_ROOT,
                env={**settings, **os.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C must not reach the services: `stop` stops them in order.
                start_new_session=True,
            )
            self._running.append((service, process))

    def _check_port(self, port: int, option: str) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, port))
            except OSError as error:
                raise InputError(
                    f"{self._host}:{port} cannot be used ({error.strerror}). Choose another port "
                    f"with {option}."
                ) from None

    def _wait_for_server(self) -> None:
        process, deadline = self._running[0][1], time.monotonic() + _START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            try:
                httpx.get(f"{self._url}/api/health", timeout=5).raise_for_status()
                return
            except httpx.HTTPError:
                time.sleep(0.3)
        raise IcanvasError(f"Prefect's server did not start. See {self._log_folder}/server.log.")


@contextmanager
def _defer_signals() -> Iterator[None]:
    """Delay signals that arrive during the block until its end.

    The signals are caught by handlers. Blocked signals would stay blocked in processes that are
    started in the block.
    """
    received: list[int] = []
    previous_handlers = {
        number: signal.signal(number, lambda found, _frame: received.append(found))
        for number in SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def _terminate_group(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to a process group, then SIGKILL to what still runs."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while _is_group_alive(process) and time.monotonic() < deadline:
            time.sleep(0.1)
    process.wait()


def _is_group_alive(process: subprocess.Popen[bytes]) -> bool:
    # Reap the leader, so that only its children are left in the group.
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
