"""Fake hosts for tests: a proxy on the loopback interface that answers for any host, with TLS.

``FakeHosts`` serves the real URLs that the code requests. A client reaches it through the proxy
variables of its environment, and trusts it through a temporary certificate authority::

    with FakeHosts() as hosts:
        hosts.add("storage.googleapis.com", "/set.zip", Resource(content, faults=[faulty(cut=100)]))
        hosts.set_proxy_env(monkeypatch)  # Request https://storage.googleapis.com/set.zip, then:
        assert hosts.requests[0].headers["user-agent"] == "icanvas/0.1"
"""

import re
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import pytest
import trustme


@dataclass(frozen=True)
class Request:
    """A received request; header names are in lower case."""

    method: str
    scheme: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """A response, and the faults in its transfer.

    Attributes
    ----------
    status : int
        HTTP status.
    headers : mapping of str to str
        Headers except those of the framing.
    body : bytes
        Complete body.
    cut : int, bytes, or None
        Close the connection after this part of the body, although its full length is declared.
    reset : bool
        Close the connection with a TCP reset.
    stall : float, seconds
        Pause before the connection is closed.
    drip : float, seconds
        Pause between single bytes of the body.
    framing : {"length", "chunked", "none"}
        How the end of the body is marked; ``none`` closes the connection.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    reset: bool = False
    stall: float = 0
    drip: float = 0
    framing: Literal["length", "chunked", "none"] = "length"


@dataclass
class Resource:
    """A file on a host, which supports range requests.

    Attributes
    ----------
    content : bytes
        Bytes of the file.
    etag, last_modified : str or None
        Validators.
    content_type : str
        Content type.
    headers : mapping of str to str
        Further headers.
    faults : list of callable
        Faults that are applied once each, in order.
    default_fault : callable or None
        Fault that is applied to all further requests.
    """

    content: bytes
    etag: str | None = '"1"'
    last_modified: str | None = "Mon, 02 Nov 2026 08:00:00 GMT"
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    faults: list["Fault"] = field(default_factory=list)
    default_fault: "Fault | None" = None

    def __call__(self, request: Request) -> Reply:
        for fault in self.faults:
            if reply := fault(self, request):
                self.faults.remove(fault)
                return reply
        return (self.default_fault and self.default_fault(self, request)) or self.serve(request)

    def serve(self, request: Request) -> Reply:
        """Answer without a fault."""
        headers = {"Content-Type": self.content_type, "Accept-Ranges": "bytes", **self.headers}
        if self.etag:
            headers["ETag"] = self.etag
        if self.last_modified:
            headers["Last-Modified"] = self.last_modified
        total = len(self.content)
        requested = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        condition = request.headers.get("if-range")
        if not requested or condition not in (None, self.etag, self.last_modified):
            return Reply(200, headers, self.content)
        start, end = int(requested[1]), min(int(requested[2] or total), total - 1)
        if start >= total:
            return Reply(416, {"Content-Range": f"bytes */{total}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{total}"
        return Reply(206, headers, self.content[start : end + 1])


# A fault answers instead of the resource; None if it does not apply to the request.
Fault = Callable[[Resource, Request], Reply | None]
Handler = Callable[[Request], Reply]


def faulty(**fields: Any) -> Fault:
    """Answer correctly except for some fields of ``Reply``."""
    return lambda resource, request: replace(resource.serve(request), **fields)


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    """Answer with a status; ``Retry_After="3"`` becomes the header ``Retry-After``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _, __: Reply(code, named, body)


def html_page() -> Fault:
    """Answer with status 200 and a web page."""
    return status(200, b"<!DOCTYPE html><p>Sign in</p>", Content_Type="text/html; charset=utf-8")


def redirect(url: str) -> Fault:
    """Answer with a redirect."""
    return status(302, Location=url)


def on_range(fault: Fault) -> Fault:
    """Apply a fault to range requests only."""
    return lambda resource, request: (
        fault(resource, request) if "range" in request.headers else None
    )


def range_ignored() -> Fault:
    """Answer a range request with the whole file."""
    return on_range(lambda resource, request: resource.serve(replace(request, headers={})))


def with_headers(**headers: str) -> Fault:
    """Answer correctly except for some headers; see ``status`` for their names."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda resource, request: replace(
        correct := resource.serve(request), headers={**correct.headers, **named}
    )


def replaced_by(content: bytes, etag: str | None) -> Fault:
    """Replace the file permanently before answering."""

    def answer(resource: Resource, request: Request) -> Reply:
        resource.content, resource.etag = content, etag
        return resource.serve(request)

    return answer


class FakeHosts:
    """A proxy that answers for the hosts given to ``add``.

    Attributes
    ----------
    requests : list of Request
        All received requests.
    closing : threading.Event
        Set at the end, to interrupt pauses of responses.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._routes: dict[tuple[str, str, str], Handler] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self._authority = trustme.CA()
        self._folder = tempfile.TemporaryDirectory()
        self._bundle = f"{self._folder.name}/authority.pem"
        self._authority.cert_pem.write_to_path(self._bundle)
        handler = type("BoundHandler", (_Handler,), {"hosts": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._folder.cleanup()

    def add(self, host: str, path: str, handler: Handler, method: str = "GET") -> None:
        """Add a handler for a path of a host; other paths return 404, other hosts 502."""
        self._routes[host, method, path] = handler

    def proxy_env(self) -> dict[str, str]:
        """Return the variables that make HTTP clients use this proxy and trust it."""
        proxy = f"http://127.0.0.1:{self._server.server_address[1]}"
        proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), proxy)
        none = dict.fromkeys(("ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"), "")
        return proxies | none | dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), self._bundle)

    def set_proxy_env(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set the variables of ``proxy_env`` for a test."""
        for name, value in self.proxy_env().items():
            monkeypatch.setenv(name, value)

    def context(self, host: str) -> ssl.SSLContext | None:
        """Return the TLS context with the certificate of a host; None for an unknown host."""
        with self._lock:
            if not any(name == host for name, _, _ in self._routes):
                return None
            if host not in self._contexts:
                self._contexts[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._authority.issue_cert(host).configure_cert(self._contexts[host])
            return self._contexts[host]

    def answer(self, request: Request) -> Reply:
        """Record a request and return its response."""
        handler = self._routes.get((request.host, request.method, request.path))
        with self._lock:  # Handlers need no lock of their own.
            self.requests.append(request)
            return handler(request) if handler else Reply(404)


class _Handler(BaseHTTPRequestHandler):
    hosts: FakeHosts
    protocol_version = "HTTP/1.1"
    timeout = 20
    disable_nagle_algorithm = True  # Otherwise each body is delayed by 40 ms.
    _tunnel_host = ""

    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0]
        if (context := self.hosts.context(host)) is None:
            self.send_error(502)
            return
        self.send_response_only(200)
        self.end_headers()
        try:
            self.connection = context.wrap_socket(self.connection, True)
        except OSError:
            self.close_connection = True
            return
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self._tunnel_host = host
        self.close_connection = False

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        request = Request(
            self.command,
            "https" if self._tunnel_host else "http",
            self._tunnel_host or parts.hostname or "",
            parts.path,
            parts.query,
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(int(self.headers.get("Content-Length", 0))),
        )
        try:
            self._send(self.hosts.answer(request))
        except OSError:
            self.close_connection = True  # The client has disconnected.

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def _send(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.framing == "length":
            self.send_header("Content-Length", str(len(reply.body)))
        elif reply.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        chunked, body = reply.framing == "chunked", reply.body[: reply.cut]
        size = 1 if reply.drip else len(body) or 1
        for chunk in (body[i : i + size] for i in range(0, len(body), size)):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            self.wfile.flush()
            if reply.drip and self.hosts.closing.wait(reply.drip):
                break
        if reply.cut is not None or reply.reset or reply.framing == "none":
            self.hosts.closing.wait(reply.stall)
            self.close_connection = True
        elif chunked:
            self.wfile.write(b"0\r\n\r\n")
        if reply.reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # The server would close it regularly, without a reset.

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
