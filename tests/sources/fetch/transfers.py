"""Helpers of the download tests: a file, a host that serves it, and ways to download it."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from config.errors import IcanvasError
from sources.fetch import download as module
from sources.fetch import host_api
from sources.fetch.download import DownloadRecord, HttpLimits, RemoteFile, RequestTarget, download
from tests.hosts import FakeHosts, Fault, Resource, faulty

HOST = "storage.example"
URL = f"https://{HOST}/set.zip"
CONTENT = b"PK\x03\x04" + bytes(range(256)) * 1200
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
ADVICE = "Get it another way."
LIMITS = HttpLimits(
    connect_timeout=5,
    read_timeout=5,
    stall_bytes=1000,
    max_attempts=3,
    max_connect_attempts=2,
    max_resume_attempts=3,
    backoff=0.001,
    max_retry_after=1,
)
# No amount of received bytes counts as progress.
SINGLE_ATTEMPT = replace(
    LIMITS, max_attempts=1, max_connect_attempts=1, max_resume_attempts=1, stall_bytes=1 << 40
)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHosts]:
    with FakeHosts() as fake_hosts:
        fake_hosts.set_proxy_env(monkeypatch)
        yield fake_hosts


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the pauses between requests without waiting."""
    durations: list[float] = []
    for patched in (module, host_api):
        monkeypatch.setattr(patched, "time", SimpleNamespace(sleep=durations.append))
    return durations


def make_remote(*urls: str, headers: dict[str, str] | None = None, **checks: Any) -> RemoteFile:
    """Return the file with its URLs, and what is known of it: size, sha256, md5."""
    mirrors = [lambda url=url: RequestTarget(url, headers or {}) for url in urls or (URL,)]
    return RemoteFile("set.zip", tuple(mirrors), advice=ADVICE, **checks)


def serve_file(hosts: FakeHosts, *faults: Fault, host: str = HOST, **fields: Any) -> Resource:
    """Let a host serve the file, with faults for the first requests."""
    resource = Resource(**{"content": CONTENT, "faults": list(faults), **fields})
    hosts.add(host, "/set.zip", resource)
    return resource


def fetch(folder: Path, remote: RemoteFile | None = None, **options: Any) -> DownloadRecord:
    """Download the file; check its content, and that only the record is beside it."""
    path, record = download(remote or make_remote(), folder, **{"limits": LIMITS, **options})
    assert path == folder / "set.zip"
    assert path.read_bytes() == CONTENT
    assert (record.size, record.sha256) == (len(CONTENT), SHA256)
    assert list_names(folder) == {"set.zip", "set.zip.json"}
    return record


def fetch_error(folder: Path, remote: RemoteFile | None = None, **options: Any) -> str:
    """Download the file, and return the name and message of the error."""
    with pytest.raises(IcanvasError) as caught:
        download(remote or make_remote(), folder, **{"limits": LIMITS, **options})
    return f"{type(caught.value).__name__}: {caught.value}"


def interrupt(hosts: FakeHosts, folder: Path, after: int = 1000, **fields: Any) -> Resource:
    """Leave a partial download of ``after`` bytes, and clear the recorded requests."""
    resource = serve_file(hosts, faulty(cut=after), **fields)
    assert "IntegrityError" in fetch_error(folder, limits=SINGLE_ATTEMPT)
    hosts.requests.clear()
    return resource


def list_names(folder: Path) -> set[str]:
    """List the files in the download folder except the lock."""
    return {path.name for path in folder.iterdir()} - {"set.zip.lock"}


def list_ranges(hosts: FakeHosts) -> list[str | None]:
    """List the Range headers of all requests."""
    return [request.headers.get("range") for request in hosts.requests]
