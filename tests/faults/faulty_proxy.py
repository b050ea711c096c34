"""An HTTP proxy to an S3 server that injects faults into single requests."""

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

from tests.s3 import SeaweedFS

FaultKind = Literal["none", "status", "hang", "stall", "reset", "truncate", "lost"]

_CHUNK_SIZE = 1 << 16


@dataclass(frozen=True)
class ProxiedRequest:
    """A request that the proxy received; ``key`` is the object's key in the bucket."""

    number: int
    method: str
    key: str
    query: str


@dataclass(frozen=True)
class Fault:
    """What the proxy does with a request.

    Attributes
    ----------
    kind : str
        ``none``: forward it. ``status``: answer with ``status`` and ``body``, without the server.
        ``hang``: never answer. ``stall``: stop after half of the response's body. ``reset``: reset
        the connection before the server sees the request. ``truncate``: send half of the body to
        the server, then reset. ``lost``: forward it, and reset instead of returning the response.
    callback : callable
        Called at that moment; with ``none`` before the response is returned.
    status, body : int, bytes
        Response of the kind ``status``.
    """

    kind: FaultKind
    callback: Callable[[], None] = lambda: None
    status: int = 503
    body: bytes = b""


class FaultyProxy(ThreadingHTTPServer):
    """Forwards requests to a server, with a fault where ``fault`` returns one.

    Attributes
    ----------
    fault : callable
        Maps a request to a ``Fault``, or to None to forward it.
    requests : list of ProxiedRequest
        All requests so far.
    """

    daemon_threads = True
    # After an outage many clients reconnect at once.
    request_queue_size = 128

    def __init__(self, server: SeaweedFS) -> None:
        super().__init__(("127.0.0.1", 0), _ProxyHandler)
        self.upstream = urlsplit(server.endpoint)
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self.fault: Callable[[ProxiedRequest], Fault | None] = lambda _: None
        self.requests: list[ProxiedRequest] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()

    def next_fault(self, method: str, path: str) -> Fault:
        """Record a request and return its fault; serialized by a lock."""
        parts = urlsplit(path)
        key = unquote(parts.path).strip("/").partition("/")[2]
        with self._lock:
            request = ProxiedRequest(len(self.requests), method, key, parts.query)
            self.requests.append(request)
            return self.fault(request) or Fault("none")

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: reset connections are intended."""


class _ProxyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def log_message(self, *args: object) -> None:
        """Print nothing."""

    def _forward(self) -> None:
        fault = self.server.next_fault(self.command, self.path)
        size = int(self.headers.get("Content-Length", 0))
        if fault.kind == "reset":
            fault.callback()
            self._reset_connection()
        if fault.kind == "hang":
            fault.callback()
            self.server.closing.wait()
            self._reset_connection()
        if fault.kind == "status":
            self._copy_body(size, lambda _: None)
            fault.callback()
            self.send_response(fault.status)
            self.send_header("Content-Length", str(len(fault.body)))
            self.end_headers()
            self.wfile.write(fault.body)
            return
        upstream = http.client.HTTPConnection(
            self.server.upstream.hostname or "", self.server.upstream.port, timeout=120
        )
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    upstream.putheader(name, value)
            upstream.endheaders()
            if fault.kind == "truncate":
                self._copy_body(size // 2, upstream.send)
                fault.callback()
                self._reset_connection()
            self._copy_body(size, upstream.send)
            response = upstream.getresponse()
            body = response.read()
        except OSError:
            # The server is down.
            self._reset_connection()
        finally:
            upstream.close()
        fault.callback()
        if fault.kind == "lost":
            self._reset_connection()
        self.send_response(response.status)
        for name, value in response.getheaders():
            # send_response has already sent Date and Server.
            if name.lower() not in ("connection", "transfer-encoding", "server", "date"):
                self.send_header(name, value)
        if "Content-Length" not in response.headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault.kind == "stall":
            self.wfile.write(body[: len(body) // 2])
            self.server.closing.wait()
            self._reset_connection()
        self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward  # noqa: N815

    def _copy_body(self, size: int, sink: Callable[[bytes], object]) -> None:
        while size:
            chunk = self.rfile.read(min(size, _CHUNK_SIZE))
            if not chunk:
                self._reset_connection()
            sink(chunk)
            size -= len(chunk)

    def _reset_connection(self) -> None:
        """Close the connection with a TCP reset, as a crash does."""
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise ConnectionAbortedError


@contextmanager
def run_faulty_proxy(server: SeaweedFS) -> Iterator[FaultyProxy]:
    """Run a proxy to a server within the block."""
    with FaultyProxy(server) as proxy:
        threading.Thread(target=proxy.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.closing.set()
            proxy.shutdown()
