"""Download of one file from the first mirror that sends it, with resumption and verification.

A file under its final name is complete and verified. No URL with its query, no token and no request
header is printed, logged or stored.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from filelock import FileLock, Timeout

from config.errors import IcanvasError, InputError, IntegrityError, SourceError, StorageError
from sources.fetch.disk import check_space, format_bytes, translate_errors
from sources.fetch.host_api import HostUnavailable
from sources.fetch.http import (
    HttpLimits,
    PermanentError,
    RequestTarget,
    TransientError,
    open_client,
    redact_url,
    request,
)
from sources.fetch.http_responses import (
    check_response,
    find_mismatch,
    parse_content_range,
    refuses_range,
    require_archive,
    require_progress,
)
from sources.fetch.partial_downloads import (
    DownloadRecord,
    PartialDownload,
    PartialMetadata,
    find_finished_download,
)

__all__ = ["DownloadRecord", "HttpLimits", "RemoteFile", "RequestTarget", "download"]

# A shorter wait is not reported.
_QUIET_LOCK_WAIT_S = 1

_DEFAULT_LIMITS = HttpLimits()

OnBytes = Callable[[int, int | None], None]
OnWait = Callable[[str], None]


def _ignore_bytes(_done: int, _total: int | None) -> None:
    pass


def _ignore_wait(_reason: str) -> None:
    pass


@dataclass(frozen=True)
class RemoteFile:
    """A file on one or several hosts.

    Attributes
    ----------
    name : str
        Name of the file in the cache folder.
    mirrors : tuple of callable
        Functions that return the URLs, best first. Each is called before every request, because
        signed URLs expire. A function that raises counts as a host that refuses.
    size : int, bytes, or None
        Exact length if known.
    sha256 : str or None
        SHA-256 (hex) if known.
    md5 : str or None
        MD5 (hex) if known.
    http_allowed_hosts : frozenset of str
        Hosts that may send the file over plain http because a known hash protects it.
    advice : str
        Sentence on how else to get the file. It ends an error that running again may not solve.
    """

    name: str
    mirrors: tuple[Callable[[], RequestTarget], ...]
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    http_allowed_hosts: frozenset[str] = frozenset()
    advice: str = ""


@dataclass(frozen=True)
class _DownloadJob:
    """The constants of all requests for one file."""

    client: httpx.Client
    remote: RemoteFile
    partial: PartialDownload
    limits: HttpLimits
    allow_http: bool
    on_bytes: OnBytes
    on_wait: OnWait

    def request_file(
        self, request_target: RequestTarget, headers: Mapping[str, str]
    ) -> AbstractContextManager[httpx.Response]:
        """Request the file; see ``sources.fetch.http.request``."""
        return request(
            self.client,
            request_target,
            headers,
            self.limits,
            allow_http=self.allow_http,
            http_allowed_hosts=self.remote.http_allowed_hosts,
        )


def download(
    remote: RemoteFile,
    folder: Path,
    *,
    allow_http: bool = False,
    on_bytes: OnBytes = _ignore_bytes,
    on_wait: OnWait = _ignore_wait,
    limits: HttpLimits = _DEFAULT_LIMITS,
) -> tuple[Path, DownloadRecord]:
    """Download a file to a folder, unless it is there already.

    A second call finds the finished file without a request, and a second process waits for the
    first one. An interrupted transfer keeps the received bytes. The next call resumes it if the
    host confirms that the file is unchanged, or if the known SHA-256 will detect a change.

    Parameters
    ----------
    remote : RemoteFile
        The file.
    folder : Path
        Folder to download to; created if missing.
    allow_http : bool
        Allow plain http for all URLs, not only for ``remote.http_allowed_hosts``.
    on_bytes : callable
        Called with the received bytes and the total bytes (None if unknown). The first number
        decreases if a host makes the transfer start again.
    on_wait : callable
        Called with what the download waits for, a host or another process, and with "" when data
        arrives.
    limits : HttpLimits
        Timeouts and numbers of attempts.

    Returns
    -------
    path : Path
        The file.
    record : DownloadRecord
        Where it came from.

    Raises
    ------
    SourceError
        If every host refused, sent something else, or cannot be reached.
    IntegrityError
        If the transfer was interrupted, or size or hash of the bytes are wrong.
    StorageError
        If the folder cannot be written or has too little space.
    InputError
        If the name of the file or the network settings of the environment are invalid.
    """
    if not remote.name.strip(".") or Path(remote.name).name != remote.name:
        raise InputError(f"{remote.name!r} is not a plain file name.")
    sha256, md5 = (digest and digest.lower() for digest in (remote.sha256, remote.md5))
    remote = replace(remote, sha256=sha256, md5=md5)
    target = folder / remote.name
    lock = FileLock(folder / f"{remote.name}.lock")
    with translate_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=_QUIET_LOCK_WAIT_S)
        except Timeout:
            on_wait("another process is downloading it")
            lock.acquire()
    try:
        record = find_finished_download(target, remote.size, sha256, md5)
        if record is None:
            with translate_errors(target):
                partial = PartialDownload(target, pinned=sha256 is not None)
            with open_client(limits) as client:
                record = _try_mirrors(
                    _DownloadJob(client, remote, partial, limits, allow_http, on_bytes, on_wait)
                )
        on_bytes(record.size, record.size)
        return target, record
    finally:
        lock.release()


def _try_mirrors(job: _DownloadJob) -> DownloadRecord:
    """Try the mirrors in order."""
    failures = []
    for mirror in job.remote.mirrors:
        try:
            return _retry_host(job, mirror)
        except PermanentError as error:
            failures.append(error)
    raise _final_error(job, failures) from None


def _final_error(job: _DownloadJob, failures: Sequence[PermanentError]) -> IcanvasError:
    """Return the error that combines the failures of all mirrors."""
    error_types = [failure.error_type for failure in failures]
    is_interrupted = job.partial.is_resumable and IntegrityError in error_types
    error_type = (
        IntegrityError if is_interrupted else error_types[-1] if error_types else SourceError
    )
    reasons = "; ".join(f"{failure.location} {failure.message}".strip() for failure in failures)
    message = f"{job.remote.name} was not downloaded: {reasons or 'no URL is known'}."
    if is_interrupted:
        return error_type(f"{message} The downloaded part is kept: run again to resume.")
    if job.partial.is_resumable:
        message += " The downloaded part is kept."
    elif IntegrityError in error_types:
        message += " Run again."
    return error_type(f"{message} {job.remote.advice}".rstrip())


def _retry_host(job: _DownloadJob, mirror: Callable[[], RequestTarget]) -> DownloadRecord:
    """Request the file from one mirror until it succeeds, refuses or makes no more progress."""
    limits, partial = job.limits, job.partial
    bytes_before, has_received, num_failed, waited = partial.received_bytes, False, 0, 0.0
    partial.reset_progress()
    while True:
        try:
            return _download_once(job, mirror)
        except TransientError as error:
            num_failed += 1
            if partial.has_progressed(limits.stall_bytes):
                has_received, num_failed, waited = True, 0, 0
            waited += error.retry_after
            max_attempts = _max_attempts(limits, error, has_received)
            if num_failed >= max_attempts or waited > limits.max_retry_after:
                has_grown = partial.received_bytes > bytes_before
                raise _interrupted_error(error, partial, has_grown) from None
            pause = limits.backoff * 2 ** max(num_failed - 1, 0) * random.uniform(0.5, 1)
            pause = max(min(pause, limits.max_backoff), error.retry_after)
            if pause > _QUIET_LOCK_WAIT_S:
                # The advice is for a person, after the last attempt.
                reason = error.message.removesuffix("; try again later")
                reason = reason.removesuffix(": run again after that")
                host = error.location.partition("/")[0]
                job.on_wait(f"{host} {reason}; retrying in {pause:.0f} s".lstrip())
            time.sleep(pause)


def _max_attempts(limits: HttpLimits, error: TransientError, has_received: bool) -> int:
    """Return the maximum number of failed requests in a row."""
    if has_received:
        return limits.max_resume_attempts
    # call_api has already repeated the request for a URL.
    return {"connect": limits.max_connect_attempts, "resolve": 1}.get(
        error.stage, limits.max_attempts
    )


def _interrupted_error(
    error: TransientError, partial: PartialDownload, has_grown: bool
) -> PermanentError:
    if has_grown and partial.metadata:
        reached = format_bytes(partial.size, partial.metadata.total)
        permanent = PermanentError(f"stopped at {reached} ({error.message})", IntegrityError)
    elif error.stage == "body":
        permanent = PermanentError(f"stopped at the start ({error.message})", IntegrityError)
    else:
        error_type = IntegrityError if partial.is_resumable else SourceError
        permanent = PermanentError(error.message, error_type)
    permanent.location = error.location
    return permanent


def _download_once(job: _DownloadJob, mirror: Callable[[], RequestTarget]) -> DownloadRecord:
    """Request the missing bytes; if the host refuses the range, request the whole file."""
    partial = job.partial
    request_target = _resolve_mirror(job.remote, mirror)
    requested_url = redact_url(request_target.url)
    offset, metadata = partial.get_resume_point(requested_url, job.remote.size)
    if offset and metadata:
        partial.hash_to(offset)
        headers = {"Range": f"bytes={offset}-"}
        if metadata.validator:
            headers["If-Range"] = metadata.validator
        with job.request_file(request_target, headers) as response:
            if not refuses_range(response, offset, metadata):
                is_range = response.status_code == 206
                start = offset if is_range else 0
                return _receive_body(job, request_target, response, start, metadata)
        # The partial download is kept until a response for the whole file replaces it.
        request_target = _resolve_mirror(job.remote, mirror)
    with job.request_file(request_target, {}) as response:
        return _receive_body(job, request_target, response)


def _resolve_mirror(remote: RemoteFile, mirror: Callable[[], RequestTarget]) -> RequestTarget:
    try:
        return mirror()
    except StorageError:
        raise
    except IcanvasError as error:
        # _final_error appends the advice once, if it applies.
        message = str(error).replace(remote.advice, "").strip().rstrip(".")
        if isinstance(error, HostUnavailable):
            raise TransientError(message, "resolve", error.retry_after) from None
        raise PermanentError(message, type(error)) from None
    except (httpx.InvalidURL, UnicodeError):
        raise PermanentError("its URL is invalid") from None


def _receive_body(
    job: _DownloadJob,
    request_target: RequestTarget,
    response: httpx.Response,
    offset: int = 0,
    metadata: PartialMetadata | None = None,
) -> DownloadRecord:
    """Append a response's body to the first ``offset`` bytes and finish the file."""
    remote, partial, headers = job.remote, job.partial, response.headers
    check_response(response, ranged=offset > 0)
    length = headers.get("Content-Length")
    total = parse_content_range(response)[1] if offset else int(length) if length else None
    if total is not None and remote.size not in (None, total):
        raise PermanentError(f"offers another file, of {total} bytes instead of {remote.size}")
    checks = (total, remote.size, remote.sha256, remote.md5)
    can_verify = any(check is not None for check in checks)
    if not can_verify and "chunked" not in headers.get("Transfer-Encoding", "").lower():
        raise PermanentError(
            "does not state the file's size, so a truncated transfer could not be detected"
        )
    chunks = require_progress(response.iter_raw(), job.limits)
    if not offset or metadata is None:
        chunks = require_archive(chunks)
        metadata = PartialMetadata(
            asked=redact_url(request_target.url),
            url=redact_url(response.url),
            etag=headers.get("ETag"),
            last_modified=headers.get("Last-Modified"),
            total=total,
        )
    else:
        metadata = metadata.model_copy(update={"url": redact_url(response.url)})
    expected_size = total if total is not None else remote.size
    check_space(partial.target, max((expected_size or 0) - partial.size, 0))
    with partial.open(offset, metadata):
        job.on_wait("")
        job.on_bytes(partial.size, expected_size)
        for chunk in chunks:
            partial.write(chunk)
            job.on_bytes(partial.size, expected_size)
            if expected_size is not None and partial.size > expected_size:
                break
    if total is not None and partial.size < total:
        raise TransientError("the host sent less than it declared", "body")
    if mismatch := find_mismatch(partial, expected_size, remote.sha256, remote.md5, headers):
        partial.delete()
        verb = "completed" if offset else "sent"
        raise PermanentError(f"{verb} a file {mismatch}; it was deleted", IntegrityError)
    return partial.finish()
