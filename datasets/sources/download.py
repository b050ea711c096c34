"""One file from the first host that gives it: resumed where it stopped, checked to the last byte.

Nothing under the final name was ever unfinished or unchecked, and no address with its query, no
token and no header of the caller's is printed, logged or stored.
"""

import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from filelock import FileLock

from datasets.sources.answer import (
    archive_only,
    check,
    content_range,
    find_fault,
    refuses_range,
    steady,
)
from datasets.sources.exchange import Address, Broken, Limits, Refused, ask, open_client, shown
from datasets.sources.partial import Part, Receipt, Trace, explained, find_finished
from errors import IcanvasError, InputError, IntegrityError, SourceError, StorageError

__all__ = ["Address", "Limits", "Receipt", "Remote", "download"]

# What has to stay free beside the file, in bytes.
_MARGIN = 64 << 20

_LIMITS = Limits()

OnBytes = Callable[[int, int | None], None]


def _silent(_done: int, _total: int | None) -> None:
    pass


@dataclass(frozen=True)
class Remote:
    """A file that hosts offer.

    Attributes
    ----------
    file : its name in the cache folder.
    mirrors : give its addresses, best first; each is called anew for every request, because signed
        addresses expire. One that raises counts as a host that refused.
    size : exact bytes, where known.
    sha256, md5 : hex, where known.
    advice : a sentence on how else to come by the file; ends what running again may not mend.
    """

    file: str
    mirrors: tuple[Callable[[], Address], ...]
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    advice: str = ""


@dataclass(frozen=True)
class _Job:
    """What stays the same over all requests for one file."""

    client: httpx.Client
    remote: Remote
    part: Part
    limits: Limits
    allow_http: bool
    on_bytes: OnBytes

    def ask(
        self, address: Address, headers: Mapping[str, str]
    ) -> AbstractContextManager[httpx.Response]:
        """Ask for the file; see ``exchange.ask``."""
        return ask(
            self.client,
            address,
            headers,
            self.limits,
            allow_http=self.allow_http,
            pinned=self.remote.sha256 is not None,
        )


def download(
    remote: Remote,
    folder: Path,
    *,
    allow_http: bool = False,
    on_bytes: OnBytes = _silent,
    limits: Limits = _LIMITS,
) -> tuple[Path, Receipt]:
    """Return the file in ``folder`` and where it came from, fetching what is missing of it.

    A second call finds the finished file without asking any host, and a second process waits for
    the first. An interrupted transfer keeps its part, and the next call goes on from there if the
    host vouches that the file is still the same.

    Parameters
    ----------
    allow_http : take addresses without encryption; with a pinned SHA-256 they are taken anyway.
    on_bytes : called with the bytes there so far and in all, if that is known; the first number
        falls where a host makes the transfer start again.

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
    if not remote.file.strip(".") or Path(remote.file).name != remote.file:
        raise InputError(f"{remote.file!r} is not a plain file name.")
    sha256, md5 = (digest and digest.lower() for digest in (remote.sha256, remote.md5))
    remote = replace(remote, sha256=sha256, md5=md5)
    target = folder / remote.file
    lock = FileLock(folder / f"{remote.file}.lock")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        receipt = find_finished(target, remote.size, sha256, md5)
        if receipt is None:
            with explained(target):
                part = Part(target)
            with open_client(limits) as client:
                receipt = _fetch(_Job(client, remote, part, limits, allow_http, on_bytes))
        on_bytes(receipt.size, receipt.size)
        return target, receipt
    finally:
        lock.release()


def _fetch(job: _Job) -> Receipt:
    """Try one mirror after the other."""
    failures = []
    for mirror in job.remote.mirrors:
        try:
            return _insist(job, mirror)
        except Refused as refused:
            failures.append(refused)
    raise _verdict(job, failures) from None


def _verdict(job: _Job, failures: Sequence[Refused]) -> IcanvasError:
    """Return the one error that tells why no mirror gave the file."""
    kinds = [failure.kind for failure in failures]
    interrupted = job.part.kept and IntegrityError in kinds
    kind = IntegrityError if interrupted else kinds[-1] if kinds else SourceError
    told = "; ".join(f"{failure.where} {failure.told}".strip() for failure in failures)
    message = f"{job.remote.file} was not downloaded: {told or 'no address is known'}."
    if job.part.kept:
        message += " The part is kept: run again to resume."
    elif kind is IntegrityError:
        message += " Run again."
    if not interrupted and job.remote.advice:
        message += f" {job.remote.advice}"
    return kind(message)


def _insist(job: _Job, mirror: Callable[[], Address]) -> Receipt:
    """Ask one mirror until it gives the file, refuses, or brings nothing new time after time."""
    limits, part = job.limits, job.part
    before, failed = part.gained, 0
    part.count_anew()
    while True:
        try:
            return _attempt(job, mirror)
        except Broken as broken:
            failed = 0 if part.progressed(limits.stall_bytes) else failed + 1
            offline = broken.stage == "connect" and not part.gained
            if failed >= (limits.connect_attempts if offline else limits.attempts):
                raise _give_up(broken, part, part.gained > before) from None
            pause = limits.backoff * 2 ** max(failed - 1, 0) * random.uniform(0.5, 1)
            time.sleep(max(min(pause, limits.backoff_most), broken.wait))


def _give_up(broken: Broken, part: Part, gained: bool) -> Refused:
    if gained and part.trace:
        amount = _amount(part.size, part.trace.total)
        refused = Refused(f"stopped at {amount} ({broken.told})", IntegrityError)
    elif broken.stage == "body":
        refused = Refused(f"stopped at the start ({broken.told})", IntegrityError)
    else:
        refused = Refused(broken.told)
    refused.where = broken.where
    return refused


def _attempt(job: _Job, mirror: Callable[[], Address]) -> Receipt:
    """Ask once for what is missing; where a host will not have that, once for all."""
    part = job.part
    address = _resolve(mirror)
    if offset := part.offset(shown(address.url), job.remote.size):
        assert part.trace is not None and part.trace.validator is not None
        part.hash_to(offset)
        wish = {"Range": f"bytes={offset}-", "If-Range": part.trace.validator}
        with job.ask(address, wish) as answer:
            if not refuses_range(answer, offset, part.trace):
                resumed = answer.status_code == 206
                return _receive(job, address, answer, offset if resumed else 0)
        # The part stays until a whole answer is there to replace it.
        address = _resolve(mirror)
    with job.ask(address, {}) as answer:
        return _receive(job, address, answer, 0)


def _resolve(mirror: Callable[[], Address]) -> Address:
    try:
        return mirror()
    except StorageError:
        raise
    except IcanvasError as error:
        raise Refused(str(error).rstrip("."), type(error)) from None


def _receive(job: _Job, address: Address, answer: httpx.Response, offset: int) -> Receipt:
    """Write an answer's body behind the first ``offset`` bytes of the part and finish the file."""
    remote, part, headers = job.remote, job.part, answer.headers
    check(answer, job.limits, ranged=offset > 0)
    length = headers.get("Content-Length")
    total = content_range(answer)[1] if offset else int(length) if length else None
    if total is not None and remote.size not in (None, total):
        raise Refused(f"offers {total} bytes where {remote.size} are expected", IntegrityError)
    known = any(fact is not None for fact in (total, remote.size, remote.sha256, remote.md5))
    if not known and "chunked" not in headers.get("Transfer-Encoding", "").lower():
        raise Refused("does not tell the file's size, so that a cut would pass unseen")
    pieces = steady(answer.iter_raw(), job.limits)
    trace = part.trace
    if not offset or trace is None:
        pieces = archive_only(pieces)
        trace = Trace(
            asked=shown(address.url),
            url=shown(answer.url),
            etag=headers.get("ETag"),
            last_modified=headers.get("Last-Modified"),
            total=total,
        )
    goal = total if total is not None else remote.size
    _check_space(part, goal or 0)
    with part.opened(offset, trace):
        job.on_bytes(part.size, goal)
        for piece in pieces:
            part.write(piece)
            job.on_bytes(part.size, goal)
            if goal is not None and part.size > goal:
                break
    if total is not None and part.size < total:
        raise Broken("the host sent less than it said", "body")
    if wrong := find_fault(part, goal, remote.sha256, remote.md5, headers):
        part.drop()
        raise Refused(f"sent a file {wrong}; it is removed", IntegrityError)
    return part.finish()


def _check_space(part: Part, total: int) -> None:
    needed = max(total - part.size, 0) + _MARGIN
    with explained(part.target.parent):
        free = shutil.disk_usage(part.target.parent).free
    if free < needed:
        raise StorageError(
            f"{part.target.name} needs {_amount(needed)} in {part.target.parent}, where "
            f"{_amount(free)} are free. Free some, or choose another place with --cache."
        )


def _amount(done: int, total: int | None = None) -> str:
    """Return bytes for a person: ``3.1 of 8.6 GB``."""
    largest = done if total is None else total
    power = next((p for p in (4, 3, 2, 1) if largest >= 1000**p), 0)
    unit = ("bytes", "kB", "MB", "GB", "TB")[power]
    numbers = [done] if total is None else [done, total]
    return " of ".join(f"{n / 1000**power:.{min(power, 1)}f}" for n in numbers) + f" {unit}"
