"""What the tests of the downloader share: a file, hosts that offer it, and ways to fetch it."""

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
from sources.fetch.download import RequestTarget, DownloadRecord, HttpLimits, RemoteFile, download
from tests.hosts import Fault, FakeHosts, Resource, faulty

HOST = "storage.example"
URL = f"https://{HOST}/set.zip"
CONTENT = b"PK\x03\x04" + bytes(range(256)) * 1200
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
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
# However much came, it is not called progress.
SINGLE_ATTEMPT = replace(
    LIMITS, max_attempts=1, max_connect_attempts=1, max_resume_attempts=1, stall_bytes=1 << 40
)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHosts]:
    with FakeHosts() as running:
        running.set_proxy_env(monkeypatch)
        yield running


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record how long is waited before a host is asked again, and do not wait."""
    waited: list[float] = []
    for asking in (module, host_api):
        monkeypatch.setattr(asking, "time", SimpleNamespace(sleep=waited.append))
    return waited


def make_remote(*urls: str, headers: dict[str, str] | None = None, **known: Any) -> RemoteFile:
    mirrors = [lambda url=url: RequestTarget(url, headers or {}) for url in urls or (URL,)]
    return RemoteFile("set.zip", tuple(mirrors), advice="Fetch it by hand.", **known)


def serve_file(hosts: FakeHosts, *faults: Fault, host: str = HOST, **fields: Any) -> Resource:
    resource = Resource(**{"content": CONTENT, "faults": list(faults), **fields})
    hosts.add(host, "/set.zip", resource)
    return resource


def fetch(folder: Path, wanted: RemoteFile | None = None, **options: Any) -> DownloadRecord:
    """Download, and see that the file is whole and nothing but the receipt lies beside it."""
    path, receipt = download(wanted or make_remote(), folder, **{"limits": LIMITS, **options})
    assert path == folder / "set.zip"
    assert path.read_bytes() == CONTENT
    assert (receipt.size, receipt.sha256) == (len(CONTENT), SHA256)
    assert list_names(folder) == {"set.zip", "set.zip.json"}
    return receipt


def fetch_error(folder: Path, wanted: RemoteFile | None = None, **options: Any) -> str:
    with pytest.raises(IcanvasError) as caught:
        download(wanted or make_remote(), folder, **{"limits": LIMITS, **options})
    return f"{type(caught.value).__name__}: {caught.value}"


def interrupt(hosts: FakeHosts, folder: Path, after: int = 1000, **fields: Any) -> Resource:
    """Leave a part of so many bytes, and forget the requests made for it."""
    resource = serve_file(hosts, faulty(cut=after), **fields)
    assert "IntegrityError" in fetch_error(folder, limits=SINGLE_ATTEMPT)
    hosts.requests.clear()
    return resource


def list_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"set.zip.lock"}


def list_ranges(hosts: FakeHosts) -> list[str | None]:
    return [request.headers.get("range") for request in hosts.requests]
