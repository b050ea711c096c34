"""Everything on one machine, each a process with a log: server, workers, drawing page, files."""

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

# What stops it: Ctrl-C, a service manager, a terminal that is closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Seconds. A busy machine needs a minute for a new database.
_START_TIMEOUT_S = 300

# Seconds that a worker gets to end: it gives its runs, one after another, 30 each.
_STOP_TIMEOUT_S = 90


@dataclass(frozen=True)
class Service:
    """A process of the stack.

    Attributes
    ----------
    name : also of its log.
    command : what starts it.
    """

    name: str
    command: list[str]


class LocalStack:
    """Start and stop all; a context manager, whose end stops what runs.

    Parameters
    ----------
    host, port : where Prefect's server listens; a store in a folder is shown on the next port.
    drawing_port : where the drawing page is.
    logs : folder for the logs.
    """

    def __init__(self, host: str, port: int, drawing_port: int, log_folder: Path) -> None:
        self._host, self._port, self._drawing_port, self._log_folder = (
            host,
            port,
            drawing_port,
            log_folder,
        )
        # Who listens everywhere is asked here.
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
        """What to open in a browser: (what, where)."""
        drawing = ("drawing page", f"http://{self._client_host}:{self._drawing_port}")
        files = [("files", self._files_url)] if isinstance(self._store, LocalStore) else []
        return [("Prefect", self._url), drawing, *files]

    @property
    def _files_url(self) -> str:
        return f"http://{self._client_host}:{self._port + 1}"

    def start(self) -> None:
        """Start the server, set it up, start the workers and the drawing page.

        Raises
        ------
        InputError
            If another server is configured, or the port is taken.
        IcanvasError
            If something does not start; the message names its log.
        """
        from prefect.context import refresh_global_settings_context
        from prefect.settings import PREFECT_API_URL

        if configured := PREFECT_API_URL.value():
            raise InputError(
                f"PREFECT_API_URL names the server on {httpx.URL(configured).host}, and this would "
                "start another. Unset it, or run `icanvas deploy` and workers for that one."
            )
        ports = {"--port": self._port, "--draw-port": self._drawing_port}
        if isinstance(self._store, LocalStore):
            # What artifacts name in the store can be opened then.
            override_settings(links=get_settings().store_web_url or self._files_url)
            ports["--port, whose next one shows the store's files"] = self._port + 1
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
        """Return the name of the first process that ends by itself."""
        while True:
            for service, process in self._running:
                if process.poll() is not None:
                    return service.name
            time.sleep(0.5)

    def stop(self) -> None:
        """Stop the workers with what they run, then the server, which hears their last words."""
        # A signal would cut it short, and leave what was not its turn yet.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        while self._running:
            _terminate_group(self._running[-1][1])
            self._running.pop()

    def _server(self) -> Service:
        arguments = ["server", "start", "--host", self._host, "--port", str(self._port)]
        return Service("server", [sys.executable, "-m", "prefect", *arguments])

    def _services(self) -> list[Service]:
        """Return what runs beside the server."""
        python = [sys.executable, "-m"]
        worker = [*python, "prefect", "worker", "start", "--type", "process"]
        services = [
            Service(f"worker-{pool}", [*worker, "--pool", pool, "--name", f"up-{pool}"])
            for pool in WORK_POOLS
        ]
        drawing = ["--host", self._host, "--port", str(self._drawing_port)]
        # For a first look whoever started this may serve.
        services.append(Service("drawing", [*python, "cli", "serve", "--allow-root", *drawing]))
        if isinstance(self._store, LocalStore):
            files = [str(self._port + 1), "--bind", self._host, "--directory"]
            services.append(
                Service("files", [*python, "http.server", *files, str(self._store.root)])
            )
        return services

    def _launch(self, service: Service) -> None:
        # Who comes from elsewhere has another address of this machine: the UI asks the one that the
        # browser has. Leases outlive a restart in files.
        leases = "prefect.server.concurrency.lease_storage.filesystem"
        settings = {
            "PREFECT_UI_API_URL": f"{self._url}/api" if self._client_host == self._host else "/api",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": leases,
            # Runs start at once, as a person who looks expects.
            "PREFECT_WORKER_QUERY_SECONDS": "2",
        }
        # What was started must be noted before anything stops this.
        with (self._log_folder / f"{service.name}.log").open("wb") as log, _defer_signals():
            process = subprocess.Popen(
                service.command,
                cwd=PACKAGE_ROOT,
                env={**settings, **os.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches us alone, and we stop them in order, with all that they started.
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
                    f"{self._host}:{port} cannot be used ({error.strerror}). Take another with "
                    f"{option}."
                ) from None

    def _wait_for_server(self) -> None:
        process, deadline = self._running[0][1], time.monotonic() + _START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            try:
                httpx.get(f"{self._url}/api/health", timeout=5).raise_for_status()
                return
            except httpx.HTTPError:
                time.sleep(0.3)
        raise IcanvasError(
            f"Prefect's server did not start. Its log is {self._log_folder}/server.log."
        )


@contextmanager
def _defer_signals() -> Iterator[None]:
    """Let a signal that comes during the block have its effect at the end.

    By handlers, for a signal that is blocked stays so in what is started meanwhile.
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
    """End a process and all that it started, gently, and then not."""
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
    # Reaps the leader, so that what is left are its children.
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
