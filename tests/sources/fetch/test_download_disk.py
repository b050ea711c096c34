"""What a download leaves on the disk, whatever stops it, and who waits for whom."""

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
    SINGLE_ATTEMPT,
    SHA256,
    URL,
    fetch_error,
    fetch,
    interrupt,
    list_names,
    serve_file,
    list_ranges,
    make_remote,
)

ROOT = Path(__file__).parents[3]
hosts = transfers.hosts


def test_too_little_space_is_told_before_anything_is_written(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_file(hosts)
    usage = SimpleNamespace(free=(64 << 20) + len(CONTENT) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert fetch_error(tmp_path) == (
        f"StorageError: set.zip needs 67.4 MB in {tmp_path}, where 67.4 MB are free. "
        "Free some, or choose another place with --cache."
    )
    assert list_names(tmp_path) == set()
    usage.free += 1
    fetch(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(hosts: FakeHosts, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(StorageError, match="--cache"):
            download(make_remote(), folder)


SCRIPT = f"""
import resource, sys
from pathlib import Path
from sources.fetch.download import Address, Remote, download
if most := int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
print("ready", flush=True)
try:
    print(download(Remote("set.zip", (lambda: Address("{URL}"),)), Path(sys.argv[1]))[1].sha256)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def start(hosts: FakeHosts) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start downloads in processes of their own; the files they write may be limited in size."""
    started = []

    def run(folder: Path, most: int = 0) -> "subprocess.Popen[str]":
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(folder), str(most)],
                cwd=ROOT,
                env={**os.environ, **hosts.proxy_env()},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_a_full_disk_keeps_what_fits(
    hosts: FakeHosts, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    serve_file(hosts)
    told, _ = start(tmp_path, most=100_001).communicate(timeout=20)
    assert "StorageError The disk is full" in told and "--cache" in told
    assert (tmp_path / "set.zip.part").read_bytes() == CONTENT[:100_001]
    fetch(tmp_path)
    assert list_ranges(hosts) == [None, "bytes=100001-"]


FULL_SCRIPT = f"""
import shutil, sys
from pathlib import Path
from sources.fetch.download import Address, Remote, download
from config.errors import StorageError
folder, filler = Path(sys.argv[1]), Path(sys.argv[1], "filler")
def fill(done, total):
    if not filler.exists():
        filler.write_bytes(bytes(shutil.disk_usage(folder).free - 100_000))
wanted = Remote("set.zip", (lambda: Address("{URL}"),))
try:
    download(wanted, folder, on_bytes=fill)
except StorageError as error:
    print(error)
print((folder / "set.zip.part").stat().st_size)
filler.unlink()
print(download(wanted, folder)[1].sha256)
"""


def test_a_disk_that_fills_up_meanwhile(hosts: FakeHosts, tmp_path: Path) -> None:
    """There was room for it all when it began."""
    serve_file(hosts)
    before = with_small_disk(str(tmp_path), "size=68m")
    ended = subprocess.run(
        [*before, sys.executable, "-c", FULL_SCRIPT, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, **hosts.proxy_env()},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    told, reached, sha256 = ended.stdout.splitlines()
    assert told.startswith("The disk is full") and "run again to resume" in told
    assert 0 < int(reached) < len(CONTENT)
    assert sha256 == SHA256
    assert list_ranges(hosts) == [None, f"bytes={reached}-"]


def test_a_killed_process_leaves_a_part_that_is_resumed(
    hosts: FakeHosts, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    serve_file(hosts, faulty(cut=200_000, stall=30))
    process = start(tmp_path)
    part = tmp_path / "set.zip.part"
    until = time.monotonic() + 20
    while not part.exists() or part.stat().st_size < 200_000:
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    fetch(tmp_path)
    assert list_ranges(hosts) == [None, "bytes=200000-"]


def test_two_processes_at_once_fetch_the_bytes_once(
    hosts: FakeHosts, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    both_ready = threading.Event()

    def serve(request: Request) -> Reply:
        both_ready.wait(20)
        return Resource(CONTENT).serve(request)

    hosts.add(HOST, "/set.zip", serve)
    processes = [start(tmp_path), start(tmp_path)]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    both_ready.set()
    assert [process.communicate(timeout=20)[0] for process in processes] == [f"{SHA256}\n"] * 2
    assert len(hosts.requests) == 1


def test_a_file_without_receipt_that_fails_its_hash_is_replaced(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    serve_file(hosts)
    (tmp_path / "set.zip").write_bytes(CONTENT[:-1] + b"x")
    fetch(tmp_path, make_remote(sha256=SHA256))


@pytest.mark.parametrize("known", [{"sha256": SHA256}, {"md5": MD5}, {"size": len(CONTENT)}, {}])
def test_a_file_without_its_receipt_is_trusted_for_its_hash_alone(
    hosts: FakeHosts, tmp_path: Path, known: dict[str, Any]
) -> None:
    serve_file(hosts)
    fetch(tmp_path)
    (tmp_path / "set.zip.json").unlink()
    trusted = "sha256" in known or "md5" in known
    assert fetch(tmp_path, make_remote(**known)).url == ("" if trusted else URL)
    assert len(hosts.requests) == (1 if trusted else 2)


@pytest.mark.parametrize("before", [True, False])
def test_a_process_killed_at_the_end_loses_nothing(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """Just before the part takes the file's name, or just after."""
    rename = Path.replace

    def stop(self: Path, target: Path) -> Path:
        if self.suffix != ".part":
            return rename(self, target)
        if not before:
            rename(self, target)
        raise KeyboardInterrupt

    # Nothing names these bytes, and nothing is known of them: they could not be resumed.
    serve_file(hosts, etag=None, last_modified=None)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            download(make_remote(), tmp_path, limits=LIMITS)
    path, receipt = download(make_remote(), tmp_path, limits=LIMITS)
    assert (path.read_bytes(), receipt.url, receipt.sha256) == (CONTENT, URL, SHA256)
    assert len(hosts.requests) == 1


def test_a_receipt_whose_file_is_gone_does_no_harm(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts)
    fetch(tmp_path)
    (tmp_path / "set.zip").unlink()
    serve_file(hosts, faulty(cut=1000))
    assert "IntegrityError" in fetch_error(tmp_path, limits=SINGLE_ATTEMPT)
    assert "set.zip" not in list_names(tmp_path)
    fetch(tmp_path)
    assert list_ranges(hosts) == [None, None, "bytes=1000-"]


def test_a_whole_part_that_is_not_the_receipts_does_not_become_the_file(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    interrupt(hosts, tmp_path)
    part = tmp_path / "set.zip.part"
    fetch(tmp_path)
    (tmp_path / "set.zip").unlink()
    part.write_bytes(CONTENT[:-1] + b"x")
    fetch(tmp_path)
    assert list_ranges(hosts) == ["bytes=1000-", None]


def test_who_waits_for_another_process_is_told_once(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_UNNOTICED", 0.1)
    serve_file(hosts)
    told: list[str] = []
    other = FileLock(tmp_path / "set.zip.lock", is_singleton=False)

    def release(reason: str) -> None:
        told.append(reason)
        other.release()

    other.acquire()
    fetch(tmp_path, on_wait=release)
    fetch(tmp_path, on_wait=release)
    assert told == ["another process is fetching it", ""]


def test_who_waits_for_a_host_is_told_why(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_UNNOTICED", -1)
    serve_file(hosts, status(503))
    told: list[str] = []
    fetch(tmp_path, on_wait=told.append)
    assert len(told) == 2
    assert told[0].startswith("storage.example answered 503; goes on in ")
    assert told[1] == ""
    serve_file(hosts, status(429, Retry_After="1"))
    fetch(tmp_path / "again", on_wait=told.append)
    waits = "storage.example limits its requests (429) and asks to wait 1 s; goes on in 1 s"
    assert told[2:] == [waits, ""]
