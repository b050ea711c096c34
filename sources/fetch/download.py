"""One file from the first host that gives it: resumed where it stopped, checked to the last byte.

Nothing under the final name was ever unfinished or unchecked, and no address with its query, no
token and no header of the caller's is printed, logged or stored.
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
    RequestTarget,
    HttpLimits,
    PermanentError,
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

__all__ = ["RequestTarget", "DownloadRecord", "HttpLimits", "RemoteFile", "download"]

# Seconds that nobody wonders about.
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
    """A file that hosts offer.

    Attributes
    ----------
    file : its name in the cache folder.
    mirrors : give its addresses, best first; each is called anew for every request, because signed
        addresses expire. One that raises counts as a host that refused.
    size : exact bytes, where known.
    sha256, md5 : hex, where known.
    plain : hosts that may send it without encryption, since a known hash makes up for that.
    advice : a sentence on how else to come by the file; ends what running again may not mend.
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
    """What stays the same over all requests for one file."""

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
        """Ask for the file; see ``exchange.ask``."""
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
    """Return the file in ``folder`` and where it came from, fetching what is missing of it.

    A second call finds the finished file without asking any host, and a second process waits for
    the first. An interrupted transfer keeps its part, and the next call goes on from there if the
    host vouches that the file is still the same, or the pinned SHA-256 will show it.

    Parameters
    ----------
    allow_http : take any address without encryption, not only those of ``remote.plain``.
    on_bytes : called with the bytes there so far and in all, if that is known; the first number
        falls where a host makes the transfer start again.
    on_wait : called with what is waited for, in a few words: a host, or another process. Where
        something is there to write, it is called with nothing.

    Raises
    ------
    SourceError
        If every host refused, sent something else, or cannot be reached.
    IntegrityError
        If the transfer was interrupted, or the bytes fail their size or hash.
    StorageError
        If the folder cannot be written or has too little space.
    InputError
        If the name or the environment's network settings make no sense.
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
            on_wait("another process is fetching it")
            lock.acquire()
    try:
        receipt = find_finished_download(target, remote.size, sha256, md5)
        if receipt is None:
            with translate_errors(target):
                part = PartialDownload(target, pinned=sha256 is not None)
            with open_client(limits) as client:
                receipt = _try_mirrors(
                    _DownloadJob(client, remote, part, limits, allow_http, on_bytes, on_wait)
                )
        on_bytes(receipt.size, receipt.size)
        return target, receipt
    finally:
        lock.release()


def _try_mirrors(job: _DownloadJob) -> DownloadRecord:
    """Try one mirror after the other."""
    failures = []
    for mirror in job.remote.mirrors:
        try:
            return _retry_host(job, mirror)
        except PermanentError as refused:
            failures.append(refused)
    raise _final_error(job, failures) from None


def _final_error(job: _DownloadJob, failures: Sequence[PermanentError]) -> IcanvasError:
    """Return the one error that tells why no mirror gave the file."""
    kinds = [failure.error_type for failure in failures]
    interrupted = job.partial.is_resumable and IntegrityError in kinds
    kind = IntegrityError if interrupted else kinds[-1] if kinds else SourceError
    told = "; ".join(f"{failure.location} {failure.message}".strip() for failure in failures)
    message = f"{job.remote.name} was not downloaded: {told or 'no address is known'}."
    if interrupted:
        return kind(f"{message} The part is kept: run again to resume.")
    if job.partial.is_resumable:
        message += " The part is kept."
    elif IntegrityError in kinds:
        message += " Run again."
    return kind(f"{message} {job.remote.advice}".rstrip())


def _retry_host(job: _DownloadJob, mirror: Callable[[], RequestTarget]) -> DownloadRecord:
    """Ask one mirror until it gives the file, refuses, or brings nothing new time after time."""
    limits, part = job.limits, job.partial
    before, came, failed, waited = part.received_bytes, False, 0, 0.0
    part.reset_progress()
    while True:
        try:
            return _download_once(job, mirror)
        except TransientError as broken:
            failed += 1
            if part.has_progressed(limits.stall_bytes):
                came, failed, waited = True, 0, 0
            waited += broken.retry_after
            if failed >= _max_attempts(limits, broken, came) or waited > limits.max_retry_after:
                raise _interrupted_error(broken, part, part.received_bytes > before) from None
            pause = limits.backoff * 2 ** max(failed - 1, 0) * random.uniform(0.5, 1)
            pause = max(min(pause, limits.max_backoff), broken.retry_after)
            if pause > _QUIET_LOCK_WAIT_S:
                # Without what to do: that is for a person, once this is given up.
                why = broken.message.removesuffix("; try again later")
                why = why.removesuffix(": run again after that")
                host = broken.location.partition("/")[0]
                job.on_wait(f"{host} {why}; goes on in {pause:.0f} s".lstrip())
            time.sleep(pause)


def _max_attempts(limits: HttpLimits, broken: TransientError, came: bool) -> int:
    """Return how many requests in a row may fail."""
    if came:
        return limits.max_resume_attempts
    # An API was asked time after time before it counts as broken.
    return {"connect": limits.max_connect_attempts, "address": 1}.get(
        broken.stage, limits.max_attempts
    )


def _interrupted_error(
    broken: TransientError, part: PartialDownload, gained: bool
) -> PermanentError:
    if gained and part.metadata:
        reached = format_bytes(part.size, part.metadata.total)
        refused = PermanentError(f"stopped at {reached} ({broken.message})", IntegrityError)
    elif broken.stage == "body":
        refused = PermanentError(f"stopped at the start ({broken.message})", IntegrityError)
    else:
        refused = PermanentError(broken.message, IntegrityError if part.is_resumable else SourceError)
    refused.location = broken.location
    return refused


def _download_once(job: _DownloadJob, mirror: Callable[[], RequestTarget]) -> DownloadRecord:
    """Ask once for what is missing; where a host will not have that, once for all."""
    part = job.partial
    address = _resolve_mirror(job.remote, mirror)
    offset, trace = part.get_resume_point(redact_url(address.url), job.remote.size)
    if offset and trace:
        part.hash_to(offset)
        wish = {"Range": f"bytes={offset}-"}
        if trace.validator:
            wish["If-Range"] = trace.validator
        with job.request_file(address, wish) as answer:
            if not refuses_range(answer, offset, trace):
                resumed = answer.status_code == 206
                return _receive_body(job, address, answer, offset if resumed else 0, trace)
        # The part stays until a whole answer is there to replace it.
        address = _resolve_mirror(job.remote, mirror)
    with job.request_file(address, {}) as answer:
        return _receive_body(job, address, answer)


def _resolve_mirror(remote: RemoteFile, mirror: Callable[[], RequestTarget]) -> RequestTarget:
    try:
        return mirror()
    except StorageError:
        raise
    except IcanvasError as error:
        # The verdict says whether the advice is to follow.
        told = str(error).replace(remote.advice, "").strip().rstrip(".")
        if isinstance(error, HostUnavailable):
            raise TransientError(told, "address", error.retry_after) from None
        raise PermanentError(told, type(error)) from None
    except (httpx.InvalidURL, UnicodeError):
        raise PermanentError("its address is none") from None


def _receive_body(
    job: _DownloadJob,
    address: RequestTarget,
    answer: httpx.Response,
    offset: int = 0,
    trace: PartialMetadata | None = None,
) -> DownloadRecord:
    """Write an answer's body behind the first ``offset`` bytes of the part and finish the file."""
    remote, part, headers = job.remote, job.partial, answer.headers
    check_response(answer, ranged=offset > 0)
    length = headers.get("Content-Length")
    total = parse_content_range(answer)[1] if offset else int(length) if length else None
    if total is not None and remote.size not in (None, total):
        raise PermanentError(
            f"offers another file: of {total} bytes, where {remote.size} are expected"
        )
    known = any(fact is not None for fact in (total, remote.size, remote.sha256, remote.md5))
    if not known and "chunked" not in headers.get("Transfer-Encoding", "").lower():
        raise PermanentError("does not tell the file's size, so that a cut would pass unseen")
    pieces = require_progress(answer.iter_raw(), job.limits)
    if not offset or trace is None:
        pieces = require_archive(pieces)
        trace = PartialMetadata(
            asked=redact_url(address.url),
            url=redact_url(answer.url),
            etag=headers.get("ETag"),
            last_modified=headers.get("Last-Modified"),
            total=total,
        )
    else:
        trace = trace.model_copy(update={"url": redact_url(answer.url)})
    goal = total if total is not None else remote.size
    check_space(part.target, max((goal or 0) - part.size, 0))
    with part.open(offset, trace):
        job.on_wait("")
        job.on_bytes(part.size, goal)
        for piece in pieces:
            part.write(piece)
            job.on_bytes(part.size, goal)
            if goal is not None and part.size > goal:
                break
    if total is not None and part.size < total:
        raise TransientError("the host sent less than it said", "body")
    if wrong := find_mismatch(part, goal, remote.sha256, remote.md5, headers):
        part.delete()
        did = "completed" if offset else "sent"
        raise PermanentError(f"{did} a file {wrong}; it is removed", IntegrityError)
    return part.finish()
