"""One HTTP request: redirects without leaking secrets, and translation of errors."""

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

_INVALID_URL = "is invalid, or redirects to an invalid URL"

# Request headers that may be sent to another host after a redirect.
_SAFE_HEADERS = frozenset({"accept", "accept-language", "user-agent"})

Stage = Literal["resolve", "connect", "response", "body"]


@dataclass(frozen=True)
class RequestTarget:
    """URL of a file and the headers for its host. Both can hold secrets and are not shown.

    Attributes
    ----------
    url : str
        URL.
    headers : mapping of str to str
        Headers for the host of the URL only.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class HttpLimits:
    """Timeouts and numbers of attempts of a download.

    Attributes
    ----------
    connect_timeout : float, seconds
        Maximum time to connect.
    read_timeout : float, seconds
        Maximum time between two chunks of a response.
    stall_bytes : int, bytes
        Fewer bytes within ``stall_seconds`` are a stall, and are no progress between attempts.
    stall_seconds : float, seconds
        Period in which ``stall_bytes`` have to arrive.
    max_attempts : int
        Requests to one host in a row without progress.
    max_connect_attempts : int
        The same if no connection was made and no bytes were received: no network.
    max_resume_attempts : int
        The same after bytes were received: a long transfer survives an outage of two minutes.
    backoff : float, seconds
        Pause before the second attempt; it doubles with every attempt.
    max_backoff : float, seconds
        Maximum pause.
    max_retry_after : float, seconds
        A host that asks for a longer wait in total is given up.
    max_redirects : int
        Redirects that are followed in one request.
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
    """A host does not send the file, and another request would not help.

    Attributes
    ----------
    message : str
        Verb phrase that follows the location.
    error_type : type of IcanvasError
        Error to raise if no other mirror sends the file.
    location : str
        Host and path of the URL, or "".
    """

    location = ""

    def __init__(self, message: str, error_type: type[IcanvasError] = SourceError) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type


class TransientError(Exception):
    """A request failed, and another one may succeed.

    Attributes
    ----------
    message : str
        Verb phrase that follows the location.
    stage : {"resolve", "connect", "response", "body"}
        Stage of the request that failed.
    retry_after : float, seconds
        Wait that the host asks for; 0 if it asks for none.
    location : str
        Host and path of the URL, or "".
    """

    location = ""

    def __init__(self, message: str, stage: Stage, retry_after: float = 0) -> None:
        super().__init__(message)
        self.message = message
        self.stage = stage
        self.retry_after = retry_after


def open_client(limits: HttpLimits) -> httpx.Client:
    """Open an HTTP client that uses the proxies and certificates of the environment.

    Parameters
    ----------
    limits : HttpLimits
        Timeouts.

    Returns
    -------
    httpx.Client
        The client, a context manager.

    Raises
    ------
    InputError
        If the proxy or certificate settings are invalid.
    """
    # At levels INFO and DEBUG these loggers write complete URLs and headers with their secrets.
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
    """Send a GET request and follow redirects.

    Plain http is refused, unless it is allowed, or the host is in ``http_allowed_hosts`` and no
    secret header would be sent.

    Parameters
    ----------
    client : httpx.Client
        Client.
    request_target : RequestTarget
        URL, and headers that are sent to the URL's own host only.
    headers : mapping of str to str
        Headers that are sent to every host.
    limits : HttpLimits
        Limit of redirects.
    allow_http : bool
        Allow plain http for all hosts.
    http_allowed_hosts : frozenset of str
        Hosts for which plain http is allowed.

    Yields
    ------
    httpx.Response
        Response whose body is not read yet; open within the block.

    Raises
    ------
    TransientError
        If the connection fails, also within the block. ``location`` is set.
    PermanentError
        If the URL or a redirect is invalid or not allowed, or a certificate is not trusted.
        ``location`` is set.
    """
    first = current = _parse_url(request_target.url)
    host_headers = dict(request_target.headers)
    response_started = False
    try:
        for _ in range(limits.max_redirects + 1):
            is_allowed = current.host in http_allowed_hosts and not _has_secret_headers(
                host_headers
            )
            _check_scheme(current, allow_http or is_allowed)
            response = _send(client, current, {**host_headers, **headers})
            try:
                if not response.has_redirect_location:
                    response_started = True
                    yield response
                    return
                redirected = _parse_url(response.headers["Location"], current)
            finally:
                response.close()
            if _origin(redirected) != _origin(current):
                host_headers = {k: v for k, v in host_headers.items() if k.lower() in _SAFE_HEADERS}
            current = redirected
        raise PermanentError(f"redirected more than {limits.max_redirects} times")
    except httpx.TransportError as error:
        failure = to_download_error(error, response_started)
        failure.location = _describe_hosts(first, current)
        raise failure from None
    except (PermanentError, TransientError) as failure:
        failure.location = _describe_hosts(first, current)
        raise


def redact_url(url: str | httpx.URL) -> str:
    """Remove user, password, query and fragment from a URL, for messages and storage.

    Parameters
    ----------
    url : str or httpx.URL
        URL.

    Returns
    -------
    str
        Scheme, host, port and path.

    Raises
    ------
    PermanentError
        If the URL is invalid.

    Examples
    --------
    >>> redact_url("https://user:word@host.example/set.zip?Signature=secret")
    'https://host.example/set.zip'
    """
    parsed = _parse_url(str(url))
    port = f":{parsed.port}" if parsed.port else ""
    return f"{parsed.scheme}://{parsed.host}{port}{parsed.path}"


def _describe_hosts(first: httpx.URL, last: httpx.URL) -> str:
    redirected = f", redirected to {last.host}," if last.host != first.host else ""
    return f"{first.host}{first.path}{redirected}"


def _parse_url(url: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        parsed = httpx.URL(url) if base is None else base.join(url)
        _ = parsed.host  # httpx decodes the host lazily; an invalid one raises here.
        return parsed
    except (httpx.InvalidURL, UnicodeError):
        error = PermanentError(_INVALID_URL)
        error.location = "its URL"
        raise error from None


def _send(client: httpx.Client, url: httpx.URL, headers: Mapping[str, str]) -> httpx.Response:
    try:
        http_request = client.build_request("GET", url, headers=headers)
        return client.send(http_request, stream=True, follow_redirects=False)
    except (httpx.InvalidURL, UnicodeError):
        # Some invalid host names raise only when they are looked up.
        raise PermanentError(_INVALID_URL) from None


def _check_scheme(url: httpx.URL, http_allowed: bool) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise PermanentError("is not an http or https URL, or redirects to another scheme")
    if url.scheme == "http" and not http_allowed:
        raise PermanentError(
            "uses plain http, which others can read and modify; allow it with --allow-http "
            "(or ICANVAS_ALLOW_HTTP=1)"
        )


def _has_secret_headers(headers: Mapping[str, str]) -> bool:
    return any(name.lower() not in _SAFE_HEADERS for name in headers)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def to_download_error(
    error: httpx.TransportError, response_started: bool
) -> TransientError | PermanentError:
    """Translate an error of httpx, whose own message may contain secrets.

    Parameters
    ----------
    error : httpx.TransportError
        Error.
    response_started : bool
        Whether the headers of a response were received.

    Returns
    -------
    TransientError or PermanentError
        Permanent if the certificate is not trusted.
    """
    reason = _find_reason(error)
    if response_started:
        return TransientError(reason, "body")
    if reason == "untrusted":
        return PermanentError(
            "has a certificate that is not trusted; SSL_CERT_FILE can name other certificates"
        )
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return TransientError(f"cannot be reached ({reason}; check the network)", "connect")
    return TransientError(f"did not respond ({reason})", "response")


def _find_reason(error: httpx.TransportError) -> str:
    """Return the cause of a failed transfer in a few words, without any URL."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    for cause in causes:
        match cause:
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
            case OSError(errno=int(number)) if not isinstance(cause, ssl.SSLError):
                return os.strerror(number).lower()
    return "connection broken"
