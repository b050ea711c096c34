"""Files on disk after a download was stopped, and processes that download concurrently."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from config.errors import StorageError
from sources.fetch import download as module
from sources.fetch.download import download
from tests.disks import with_small_disk
from tests.hosts import (
    FakeHosts,
    Reply,
    Request,
    Resource,
    faulty,
    status,
)
from tests.sources.fetch import transfers
from tests.sources.fetch.transfers import (
    CONTENT,
    HOST,
    LIMITS,
    MD5,
    SHA256,
    SINGLE_ATTEMPT,
    URL,
    fetch,
    fetch_error,
    interrupt,
    list_names,
    list_ranges,
    make_remote,
    serve_file,
)

ROOT = Path(__file__).parents[3]
hosts = transfers.hosts


def test_insufficient_space_is_reported_before_writing(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_file(hosts)
    usage = SimpleNamespace(free=(64 << 20) + len(CONTENT) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert fetch_error(tmp_path) == (
        f"StorageError: set.zip needs 67.4 MB in {tmp_path}, where 67.4 MB are free. "
        "Free some space, or choose another folder with --cache."
    )
    assert list_names(tmp_path) == set()
    usage.free += 1
    fetch(tmp_path)


def test_uncreatable_folder_is_reported(hosts: FakeHosts, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(StorageError, match="--cache"):
            download(make_remote(), folder)


SCRIPT = f"""
import resource, sys
from pathlib import Path
from sources.fetch.download import RemoteFile, RequestTarget, download
if limit := int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print("ready", flush=True)
try:
    remote = RemoteFile("set.zip", (lambda: RequestTarget("{URL}"),))
    print(download(remote, Path(sys.argv[1]))[1].sha256)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def start(hosts: FakeHosts) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start downloads in separate processes, optionally with a limit of the file size."""
    processes = []

    def run(folder: Path, max_file_size: int = 0) -> "subprocess.Popen[str]":
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(folder), str(max_file_size)],
                cwd=ROOT,
                env={**os.environ, **hosts.proxy_env()},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_full_disk_keeps_the_written_bytes(
    hosts: FakeHosts, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    serve_file(hosts)
    message, _ = start(tmp_path, max_file_size=100_001).communicate(timeout=20)
    assert "StorageError The disk is full" in message and "--cache" in message
    assert (tmp_path / "set.zip.part").read_bytes() == CONTENT[:100_001]
    fetch(tmp_path)
    assert list_ranges(hosts) == [None, "bytes=100001-"]


FULL_SCRIPT = f"""
import shutil, sys
from pathlib import Path
from sources.fetch.download import RemoteFile, RequestTarget, download
from config.errors import StorageError
folder, filler = Path(sys.argv[1]), Path(sys.argv[1], "filler")
def fill(done, total):
    if not filler.exists():
        filler.write_bytes(bytes(shutil.disk_usage(folder).free - 100_000))
remote = RemoteFile("set.zip", (lambda: RequestTarget("{URL}"),))
try:
    download(remote, folder, on_bytes=fill)
except StorageError as error:
    print(error)
print((folder / "set.zip.part").stat().st_size)
filler.unlink()
print(download(remote, folder)[1].sha256)
"""


def test_disk_filling_up_during_a_download(hosts: FakeHosts, tmp_path: Path) -> None:
    """The free space was sufficient at the start."""
    serve_file(hosts)
    prefix = with_small_disk(str(tmp_path), "size=68m")
    completed = subprocess.run(
        [*prefix, sys.executable, "-c", FULL_SCRIPT, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, **hosts.proxy_env()},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    message, reached, sha256 = completed.stdout.splitlines()
    assert message.startswith("The disk is full") and "run again to resume" in message
    assert 0 < int(reached) < len(CONTENT)
    assert sha256 == SHA256
    assert list_ranges(hosts) == [None, f"bytes={reached}-"]


def test_download_of_a_killed_process_is_resumed(
    hosts: FakeHosts, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    serve_file(hosts, faulty(cut=200_000, stall=30))
    process = start(tmp_path)
    part = tmp_path / "set.zip.part"
    deadline = time.monotonic() + 20
    while not part.exists() or part.stat().st_size < 200_000:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    fetch(tmp_path)
    assert list_ranges(hosts) == [None, "bytes=200000-"]


def test_two_concurrent_processes_download_once(
    hosts: FakeHosts, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    processes_ready = threading.Event()

    def serve(request: Request) -> Reply:
        processes_ready.wait(20)
        return Resource(CONTENT).serve(request)

    hosts.add(HOST, "/set.zip", serve)
    processes = [start(tmp_path), start(tmp_path)]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    processes_ready.set()
    assert [process.communicate(timeout=20)[0] for process in processes] == [f"{SHA256}\n"] * 2
    assert len(hosts.requests) == 1


def test_file_without_record_and_with_wrong_hash_is_replaced(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    serve_file(hosts)
    (tmp_path / "set.zip").write_bytes(CONTENT[:-1] + b"x")
    fetch(tmp_path, make_remote(sha256=SHA256))


@pytest.mark.parametrize("checks", [{"sha256": SHA256}, {"md5": MD5}, {"size": len(CONTENT)}, {}])
def test_file_without_record_is_accepted_only_for_a_known_hash(
    hosts: FakeHosts, tmp_path: Path, checks: dict[str, Any]
) -> None:
    serve_file(hosts)
    fetch(tmp_path)
    (tmp_path / "set.zip.json").unlink()
    is_accepted = "sha256" in checks or "md5" in checks
    assert fetch(tmp_path, make_remote(**checks)).url == ("" if is_accepted else URL)
    assert len(hosts.requests) == (1 if is_accepted else 2)


@pytest.mark.parametrize("before_rename", [True, False])
def test_process_killed_during_the_final_rename_loses_nothing(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before_rename: bool
) -> None:
    """Directly before or after the partial file is renamed."""
    rename = Path.replace

    def interrupted_rename(self: Path, target: Path) -> Path:
        if self.suffix != ".part":
            return rename(self, target)
        if not before_rename:
            rename(self, target)
        raise KeyboardInterrupt

    # Without validator and hash, the download cannot be resumed.
    serve_file(hosts, etag=None, last_modified=None)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", interrupted_rename)
        with pytest.raises(KeyboardInterrupt):
            download(make_remote(), tmp_path, limits=LIMITS)
    path, record = download(make_remote(), tmp_path, limits=LIMITS)
    assert (path.read_bytes(), record.url, record.sha256) == (CONTENT, URL, SHA256)
    assert len(hosts.requests) == 1


def test_record_without_its_file_is_ignored(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts)
    fetch(tmp_path)
    (tmp_path / "set.zip").unlink()
    serve_file(hosts, faulty(cut=1000))
    assert "IntegrityError" in fetch_error(tmp_path, limits=SINGLE_ATTEMPT)
    assert "set.zip" not in list_names(tmp_path)
    fetch(tmp_path)
    assert list_ranges(hosts) == [None, None, "bytes=1000-"]


def test_complete_partial_file_of_another_record_is_not_used(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    interrupt(hosts, tmp_path)
    part = tmp_path / "set.zip.part"
    fetch(tmp_path)
    (tmp_path / "set.zip").unlink()
    part.write_bytes(CONTENT[:-1] + b"x")
    fetch(tmp_path)
    assert list_ranges(hosts) == ["bytes=1000-", None]


def test_waiting_for_another_process_is_reported_once(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUIET_LOCK_WAIT_S", 0.1)
    serve_file(hosts)
    reasons: list[str] = []
    other = FileLock(tmp_path / "set.zip.lock", is_singleton=False)

    def release(reason: str) -> None:
        reasons.append(reason)
        other.release()

    other.acquire()
    fetch(tmp_path, on_wait=release)
    fetch(tmp_path, on_wait=release)
    assert reasons == ["another process is downloading it", ""]


def test_waiting_for_a_host_is_reported_with_its_reason(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUIET_LOCK_WAIT_S", -1)
    serve_file(hosts, status(503))
    reasons: list[str] = []
    fetch(tmp_path, on_wait=reasons.append)
    assert len(reasons) == 2
    assert reasons[0].startswith("storage.example answered 503; retrying in ")
    assert reasons[1] == ""
    serve_file(hosts, status(429, Retry_After="1"))
    fetch(tmp_path / "again", on_wait=reasons.append)
    expected = "storage.example limits requests (429) and asks to wait 1 s; retrying in 1 s"
    assert reasons[2:] == [expected, ""]
