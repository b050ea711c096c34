"""Checks of HTTP responses: whether one holds the file or the requested range, completely."""

import base64
import binascii
import email.utils
import math
import re
import time
from collections.abc import Iterator
from itertools import chain

import httpx

from sources.fetch.http import HttpLimits, PermanentError, TransientError
from sources.fetch.partial_downloads import PartialDownload, PartialMetadata

_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_TAR_MAGIC = slice(257, 262)

_STATUS_MESSAGES = {
    401: "requires a login (401)",
    403: "refused access (403)",
    404: "has no such file (404)",
    410: "no longer has the file (410)",
}


def check_response(response: httpx.Response, *, ranged: bool) -> None:
    """Check the status and headers of a response.

    Parameters
    ----------
    response : httpx.Response
        Response whose body is not read yet.
    ranged : bool
        Whether a range was requested.

    Raises
    ------
    TransientError
        If the host is busy.
    PermanentError
        If the response is neither the file nor the requested range.
    """
    status = response.status_code
    if "x-amzn-waf-action" in response.headers:
        raise PermanentError(f"answered {status} with a bot challenge instead of the file")
    if busy_error := find_busy_error(response):
        raise busy_error
    if status != 200 and not (status == 206 and ranged):
        raise PermanentError(_STATUS_MESSAGES.get(status, f"answered {status} instead of the file"))
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type in ("text/html", "application/xhtml+xml"):
        raise PermanentError(f"sent a web page ({content_type}), not an archive")


def find_busy_error(response: httpx.Response) -> TransientError | None:
    """Return the error of a response with a transient status.

    Parameters
    ----------
    response : httpx.Response
        Response.

    Returns
    -------
    TransientError or None
        Error with the host's Retry-After; None if the status is final.
    """
    status = response.status_code
    if not _is_transient(status):
        return None
    message = "limits requests (429)" if status == 429 else f"answered {status}"
    retry_after = _parse_retry_after(response.headers.get("Retry-After", ""))
    if retry_after:
        wait = _format_duration(retry_after)
        message = f"{message} and asks to wait {wait}: run again after that"
        return TransientError(message, "response", retry_after)
    return TransientError(f"{message}; try again later", "response")


def refuses_range(response: httpx.Response, offset: int, metadata: PartialMetadata) -> bool:
    """Return whether a response to a range request cannot continue the partial download.

    This is a refusal, of the range or of an expired URL, or a range that does not fit.

    Parameters
    ----------
    response : httpx.Response
        Response to the range request.
    offset : int, bytes
        First byte of the requested range.
    metadata : PartialMetadata
        Metadata of the partial download.

    Returns
    -------
    bool
        False also for a transient status.
    """
    if response.status_code == 206:
        start, total = parse_content_range(response)
        name = "ETag" if metadata.validator == metadata.etag else "Last-Modified"
        validator = response.headers.get(name) if metadata.validator else None
        has_changed = validator not in (None, metadata.validator)
        has_other_total = total is None or metadata.total not in (None, total)
        return has_changed or start != offset or has_other_total
    return response.status_code != 200 and not _is_transient(response.status_code)


def parse_content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Parse the Content-Range header of a 206 response.

    Parameters
    ----------
    response : httpx.Response
        Response.

    Returns
    -------
    start : int, bytes, or None
        First byte of the range.
    total : int, bytes, or None
        Length of the file. Both are None if the header is missing or invalid.
    """
    match = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", "").strip()
    )
    return (int(match[1]), int(match[2])) if match else (None, None)


def require_progress(chunks: Iterator[bytes], limits: HttpLimits) -> Iterator[bytes]:
    """Yield the chunks of a body while they arrive fast enough.

    Parameters
    ----------
    chunks : iterator of bytes
        Body.
    limits : HttpLimits
        Limits of a stall.

    Yields
    ------
    bytes
        The same chunks.

    Raises
    ------
    TransientError
        If the transfer stalls.
    """
    since, received = time.monotonic(), 0
    for chunk in chunks:
        yield chunk
        received += len(chunk)
        now = time.monotonic()
        if now - since >= limits.stall_seconds:
            if received < limits.stall_bytes:
                raise TransientError("stalled", "body")
            since, received = now, 0


def require_archive(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Check that a body begins like a zip or tar archive.

    Parameters
    ----------
    chunks : iterator of bytes
        Body.

    Returns
    -------
    iterator of bytes
        The complete body.

    Raises
    ------
    PermanentError
        If the body is empty or something else.
    """
    head = b""
    while not head.startswith(_ARCHIVES) and len(head) < _TAR_MAGIC.stop:
        chunk = next(chunks, None)
        if chunk is None:
            break
        head += chunk
    if head.startswith(_ARCHIVES) or head[_TAR_MAGIC] == b"ustar":
        return chain([head], chunks)
    if not head:
        raise PermanentError("sent an empty file")
    is_page = head.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<head"))
    raise PermanentError(
        f"sent {'a web page' if is_page else 'something'} that is not a zip or tar archive"
    )


def find_mismatch(
    partial: PartialDownload,
    expected_size: int | None,
    sha256: str | None,
    md5: str | None,
    headers: httpx.Headers,
) -> str | None:
    """Compare size and hashes of the received bytes with the expected ones.

    Parameters
    ----------
    partial : PartialDownload
        The received bytes.
    expected_size : int, bytes, or None
        Expected length; None if unknown.
    sha256 : str or None
        Expected SHA-256 (hex); None if unknown.
    md5 : str or None
        Expected MD5 (hex); None if unknown.
    headers : httpx.Headers
        Headers of the response; the MD5 in ``x-goog-hash`` is compared too.

    Returns
    -------
    str or None
        Phrase that follows "a file"; None if everything matches.
    """
    if expected_size not in (None, partial.size):
        return f"whose size is not the expected {expected_size} bytes"
    actual_sha256, actual_md5 = partial.hexdigests()
    if sha256 not in (None, actual_sha256):
        return "whose SHA-256 is not the expected one"
    match = re.search(r"\bmd5=([A-Za-z0-9+/=]+)", headers.get("x-goog-hash", ""))
    try:
        header_md5 = base64.b64decode(match[1], validate=True).hex() if match else None
    except binascii.Error:
        header_md5 = None
    if any(expected not in (None, actual_md5) for expected in (md5, header_md5)):
        return "whose MD5 is not the expected one"
    return None


def _is_transient(status: int) -> bool:
    """Return whether a later request may get another status."""
    return status in (408, 425, 429) or (status >= 500 and status != 501)


def _parse_retry_after(value: str) -> float:
    if re.fullmatch(r"\d{1,9}", value.strip()):
        return int(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0


def _format_duration(seconds: float) -> str:
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 7200 else f"{math.ceil(seconds / 3600)} h"
