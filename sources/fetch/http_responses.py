"""What an answer means: whether it is the file, or the range asked for, and whole."""

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
    401: "wants a login (401)",
    403: "refused access (403)",
    404: "has no such file (404)",
    410: "has the file no longer (410)",
}


def check_response(response: httpx.Response, *, ranged: bool) -> None:
    """Raise Broken or Refused unless an answer's head promises the file, or the range asked for."""
    status = response.status_code
    if "x-amzn-waf-action" in response.headers:
        raise PermanentError(f"answered {status} with a bot challenge instead of the file")
    if busy := find_busy_error(response):
        raise busy
    if status != 200 and not (status == 206 and ranged):
        raise PermanentError(_STATUS_MESSAGES.get(status, f"answered {status} instead of the file"))
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise PermanentError(f"sent a web page ({kind}), not an archive")


def find_busy_error(response: httpx.Response) -> TransientError | None:
    """Return what a host says that may give another answer soon; None where this one is its last.

    Whoever asks decides how long a wait is too long.
    """
    status = response.status_code
    if not _is_transient(status):
        return None
    told = "limits its requests (429)" if status == 429 else f"answered {status}"
    wait = _parse_retry_after(response.headers.get("Retry-After", ""))
    if wait:
        told = f"{told} and asks to wait {_format_duration(wait)}: run again after that"
        return TransientError(told, "answer", wait)
    return TransientError(f"{told}; try again later", "answer")


def refuses_range(response: httpx.Response, offset: int, metadata: PartialMetadata) -> bool:
    """Tell whether an answer to a range is none that can follow on the part.

    That is a refusal, which may be about the range alone or about an address that has expired, or
    a range of something else.
    """
    if response.status_code == 206:
        start, total = parse_content_range(response)
        name = "ETag" if metadata.validator == metadata.etag else "Last-Modified"
        told = response.headers.get(name) if metadata.validator else None
        changed = told not in (None, metadata.validator)
        return changed or start != offset or total is None or metadata.total not in (None, total)
    return response.status_code != 200 and not _is_transient(response.status_code)


def parse_content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Return the first byte and the total of a 206; None for what it does not tell."""
    found = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", "").strip()
    )
    return (int(found[1]), int(found[2])) if found else (None, None)


def require_progress(chunks: Iterator[bytes], limits: HttpLimits) -> Iterator[bytes]:
    """Yield the pieces of a body as long as they do not just drip."""
    since, received = time.monotonic(), 0
    for piece in chunks:
        yield piece
        received += len(piece)
        now = time.monotonic()
        if now - since >= limits.stall_seconds:
            if received < limits.stall_bytes:
                raise TransientError("stalled", "body")
            since, received = now, 0


def require_archive(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Return the pieces again, having looked whether an archive begins with them."""
    head = b""
    while not head.startswith(_ARCHIVES) and len(head) < _TAR_MAGIC.stop:
        piece = next(chunks, None)
        if piece is None:
            break
        head += piece
    if head.startswith(_ARCHIVES) or head[_TAR_MAGIC] == b"ustar":
        return chain([head], chunks)
    if not head:
        raise PermanentError("sent nothing")
    page = head.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<head"))
    raise PermanentError(
        f"sent {'a web page' if page else 'something'} that is no zip or tar archive"
    )


def find_mismatch(
    partial: PartialDownload,
    expected_size: int | None,
    sha256: str | None,
    md5: str | None,
    headers: httpx.Headers,
) -> str | None:
    """Return what is wrong with the finished bytes, if anything is."""
    if expected_size not in (None, partial.size):
        return f"of another size than {expected_size} bytes"
    digests = partial.hexdigests()
    if sha256 not in (None, digests[0]):
        return "whose SHA-256 is not the expected one"
    told = re.search(r"\bmd5=([A-Za-z0-9+/=]+)", headers.get("x-goog-hash", ""))
    try:
        promised = base64.b64decode(told[1], validate=True).hex() if told else None
    except binascii.Error:
        promised = None
    if any(expected not in (None, digests[1]) for expected in (md5, promised)):
        return "whose MD5 is not the expected one"
    return None


def _is_transient(status: int) -> bool:
    """Tell whether a status may be another one soon."""
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
