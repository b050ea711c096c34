"""A line to a real S3 server on which things go wrong, request by request."""

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

Kind = Literal["none", "status", "hang", "stall", "reset", "half", "lost"]

_PIECE = 1 << 16


@dataclass(frozen=True)
class Request:
    """What the line was asked to carry; ``key`` is the object's, below the bucket."""

    number: int
    method: str
    key: str
    query: str


@dataclass(frozen=True)
class Fault:
    """What happens to a request.

    Attributes
    ----------
    kind : ``none``, it is carried; ``status``, it is answered without asking the server; ``hang``,
        nobody answers; ``stall``, the answer's body stops half-way; ``reset``, the connection is
        torn before the server sees it; ``half``, the server sees half of it; ``lost``, the server
        does it and the answer is torn.
    then : called at that moment; with ``none`` before the answer is given.
    status, body : of the answer.
    """

    kind: Kind
    then: Callable[[], None] = lambda: None
    status: int = 503
    body: bytes = b""


class Line(ThreadingHTTPServer):
    """Carries requests to a server; ``fault`` may spoil each one.

    Attributes
    ----------
    fault : gets a request, returns what happens to it; None for nothing.
    requests : what was carried or spoiled so far.
    """

    daemon_threads = True
    # Reconnecting clients come in crowds.
    request_queue_size = 128

    def __init__(self, server: SeaweedFS) -> None:
        super().__init__(("127.0.0.1", 0), _Carrier)
        self.far = urlsplit(server.endpoint)
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self.fault: Callable[[Request], Fault | None] = lambda _: None
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()

    def note(self, method: str, path: str) -> Fault:
        """Count a request and say what happens to it, one after the other."""
        parts = urlsplit(path)
        key = unquote(parts.path).strip("/").partition("/")[2]
        with self._lock:
            request = Request(len(self.requests), method, key, parts.query)
            self.requests.append(request)
            return self.fault(request) or Fault("none")

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of torn connections: they are what this is for."""


class _Carrier(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Line

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _carry(self) -> None:
        fault = self.server.note(self.command, self.path)
        size = int(self.headers.get("Content-Length", 0))
        if fault.kind == "reset":
            fault.then()
            self._tear()
        if fault.kind == "hang":
            fault.then()
            self.server.closing.wait()
            self._tear()
        if fault.kind == "status":
            self._pieces(size, lambda _: None)
            fault.then()
            self.send_response(fault.status)
            self.send_header("Content-Length", str(len(fault.body)))
            self.end_headers()
            self.wfile.write(fault.body)
            return
        far = http.client.HTTPConnection(
            self.server.far.hostname or "", self.server.far.port, timeout=120
        )
        try:
            far.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    far.putheader(name, value)
            far.endheaders()
            if fault.kind == "half":
                self._pieces(size // 2, far.send)
                fault.then()
                self._tear()
            self._pieces(size, far.send)
            answer = far.getresponse()
            body = answer.read()
        except OSError:
            # The server is down.
            self._tear()
        finally:
            far.close()
        fault.then()
        if fault.kind == "lost":
            self._tear()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            # send_response has said the date and who answers.
            if name.lower() not in ("connection", "transfer-encoding", "server", "date"):
                self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault.kind == "stall":
            self.wfile.write(body[: len(body) // 2])
            self.server.closing.wait()
            self._tear()
        self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _carry  # noqa: N815

    def _pieces(self, size: int, sink: Callable[[bytes], object]) -> None:
        while size:
            piece = self.rfile.read(min(size, _PIECE))
            if not piece:
                self._tear()
            sink(piece)
            size -= len(piece)

    def _tear(self) -> None:
        """End the connection as a crash does, with a reset."""
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise ConnectionAbortedError


@contextmanager
def line_to(server: SeaweedFS) -> Iterator[Line]:
    """Give a line to a server, for the time of the block."""
    with Line(server) as line:
        threading.Thread(target=line.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield line
        finally:
            line.closing.set()
            line.shutdown()
