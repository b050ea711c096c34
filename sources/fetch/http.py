"""One request over HTTP: redirects that leak nothing, and what an answer means."""

import logging
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import httpx

from config.errors import IcanvasError, InputError, SourceError

_INVALID_URL = "is or leads to something that is no address"

# What a redirect to another host may be told of the caller's headers.
_SAFE_HEADERS = frozenset({"accept", "accept-language", "user-agent"})

Stage = Literal["address", "connect", "answer", "body"]


@dataclass(frozen=True)
class RequestTarget:
    """Where the bytes are right now; both may hold secrets, so neither is ever shown."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class HttpLimits:
    """How patient a download is.

    Attributes
    ----------
    connect, read : seconds until a connection stands, and between two pieces of an answer.
    stall_bytes, stall_seconds : fewer bytes in so many seconds are a stall, even where some drip.
    attempts : requests to one host in a row that bring nothing new, or less than ``stall_bytes``.
    connect_attempts : the same where no connection stood and nothing came yet: no network.
    resume_attempts : the same once something came: an outage of two minutes ends no long transfer.
    backoff, backoff_most : seconds before the second attempt, doubling up to the most.
    retry_after_most : seconds; a host that asks for a longer wait, at once or bit by bit, is given
        up.
    redirects : followed in one request.
    """

    connect_timeout: float = 10
    read_timeout: float = 30
    stall_bytes: int = 60 << 10
    stall_seconds: float = 60
    max_attempts: int = 5
    max_connect_attempts: int = 3
    max_resume_attempts: int = 9
    backoff: float = 1
    max_backoff: float = 60
    max_retry_after: float = 300
    max_redirects: int = 10


class PermanentError(Exception):
    """A host does not give the file, and asking it again is no use; ``told`` follows its name."""

    location = ""

    def __init__(self, message: str, error_type: type[IcanvasError] = SourceError) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type


class TransientError(Exception):
    """A request that came to nothing this time; ``wait`` is what the host asks for, in seconds."""

    location = ""

    def __init__(self, message: str, stage: Stage, retry_after: float = 0) -> None:
        super().__init__(message)
        self.message = message
        self.stage = stage
        self.retry_after = retry_after


def open_client(limits: HttpLimits) -> httpx.Client:
    """Return a client that heeds the environment's proxies and certificates.

    Raises
    ------
    InputError
        If those make no sense.
    """
    # At INFO and DEBUG these two log whole URLs and headers, signatures and tokens among them.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return httpx.Client(
            headers={"User-Agent": "icanvas/0.1", "Accept": "*/*", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(limits.read_timeout, connect=limits.connect_timeout),
        )
    except (httpx.InvalidURL, ValueError, ImportError, OSError) as error:
        raise InputError(
            f"The network settings cannot be used ({type(error).__name__}). "
            "Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and SSL_CERT_FILE."
        ) from None


@contextmanager
def request(
    client: httpx.Client,
    request_target: RequestTarget,
    headers: Mapping[str, str],
    limits: HttpLimits,
    *,
    allow_http: bool,
    http_allowed_hosts: frozenset[str],
) -> Iterator[httpx.Response]:
    """Give the answer to a GET, its body unread, for the time of the block.

    ``headers`` go to every host, the address's own only to its own. Plain http is refused unless
    allowed, or to a host of ``plain``, as long as no header has to be kept secret.
    What breaks in the block is raised as Broken or Refused with the place in ``where``.
    """
    first = here = _parse_url(request_target.url)
    carried = dict(request_target.headers)
    answered = False
    try:
        for _ in range(limits.max_redirects + 1):
            _check_scheme(
                here, allow_http or (here.host in http_allowed_hosts and not _has_secret_headers(carried))
            )
            response = _send(client, here, {**carried, **headers})
            try:
                if not response.has_redirect_location:
                    answered = True
                    yield response
                    return
                there = _parse_url(response.headers["Location"], here)
            finally:
                response.close()
            if _origin(there) != _origin(here):
                carried = {k: v for k, v in carried.items() if k.lower() in _SAFE_HEADERS}
            here = there
        raise PermanentError(f"redirected more than {limits.max_redirects} times")
    except httpx.TransportError as error:
        failure = to_download_error(error, answered)
        failure.location = _describe_hosts(first, here)
        raise failure from None
    except (PermanentError, TransientError) as failure:
        failure.location = _describe_hosts(first, here)
        raise


def redact_url(url: str | httpx.URL) -> str:
    """Return a URL without user, password, query and fragment: what may be printed and stored."""
    parsed = _parse_url(str(url))
    port = f":{parsed.port}" if parsed.port else ""
    return f"{parsed.scheme}://{parsed.host}{port}{parsed.path}"


def _describe_hosts(first: httpx.URL, last: httpx.URL) -> str:
    redirected = f", redirected to {last.host}," if last.host != first.host else ""
    return f"{first.host}{first.path}{redirected}"


def _parse_url(url: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        parsed = httpx.URL(url) if base is None else base.join(url)
        _ = parsed.host  # Decoded only when asked for, and so only then known to be a name.
        return parsed
    except (httpx.InvalidURL, UnicodeError):
        refused = PermanentError(_INVALID_URL)
        refused.location = "its address"
        raise refused from None


def _send(client: httpx.Client, url: httpx.URL, headers: Mapping[str, str]) -> httpx.Response:
    try:
        request = client.build_request("GET", url, headers=headers)
        return client.send(request, stream=True, follow_redirects=False)
    except (httpx.InvalidURL, UnicodeError):
        # Some names pass for names until they are looked up.
        raise PermanentError(_INVALID_URL) from None


def _check_scheme(url: httpx.URL, http_allowed: bool) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise PermanentError("leads to an address that is not http or https")
    if url.scheme == "http" and not http_allowed:
        raise PermanentError(
            "goes over plain http, which others can read and alter; allow that with --allow-http "
            "(or ICANVAS_ALLOW_HTTP=1)"
        )


def _has_secret_headers(headers: Mapping[str, str]) -> bool:
    return any(name.lower() not in _SAFE_HEADERS for name in headers)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def to_download_error(
    error: httpx.TransportError, response_started: bool
) -> TransientError | PermanentError:
    """Return why no more came, in words of our own: httpx's may quote what has to stay secret."""
    reason = _find_reason(error)
    if response_started:
        return TransientError(reason, "body")
    if reason == "untrusted":
        return PermanentError(
            "shows a certificate that is not trusted; SSL_CERT_FILE can name others"
        )
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return TransientError(f"cannot be reached ({reason}; check the network)", "connect")
    return TransientError(f"gave no answer ({reason})", "answer")


def _find_reason(error: httpx.TransportError) -> str:
    """Return why a transfer failed in a few words, without any address."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    for known in causes:
        match known:
            case ssl.SSLCertVerificationError():
                return "untrusted"
            case socket.gaierror():
                return "unknown host name"
            case httpx.TimeoutException():
                return "timed out"
            case httpx.ProxyError():
                return "refused by the proxy"
            case httpx.RemoteProtocolError():
                return "connection closed early"
            case OSError(errno=int(number)) if not isinstance(known, ssl.SSLError):
                return os.strerror(number).lower()
    return "connection broken"
