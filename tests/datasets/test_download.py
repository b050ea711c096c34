"""The downloader against hosts that fail in every way known, over real connections."""

import bz2
import gzip
import hashlib
import io
import json
import logging
import lzma
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets.sources import download as module
from datasets.sources.download import Address, Limits, Receipt, Remote, download
from errors import IcanvasError, InputError, IntegrityError, SourceError, StorageError
from tests.hosts import (
    Fault,
    Hosts,
    Reply,
    Request,
    Resource,
    becomes,
    broken,
    on_range,
    page,
    range_ignored,
    redirect,
    status,
    with_headers,
)

HOST = "storage.example"
URL = f"https://{HOST}/set.zip"
CONTENT = b"PK\x03\x04" + bytes(range(256)) * 1200
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()
LIMITS = Limits(
    connect=5,
    read=5,
    stall_bytes=1000,
    attempts=3,
    connect_attempts=2,
    backoff=0.001,
    retry_after_most=1,
)
# However much came, it is not called progress.
ONCE = replace(LIMITS, attempts=1, connect_attempts=1, stall_bytes=1 << 40)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    with Hosts() as running:
        running.lead_here(monkeypatch)
        yield running


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record how long the downloader waits before it asks again, and do not wait."""
    waited: list[float] = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=waited.append))
    return waited


def remote(*urls: str, headers: dict[str, str] | None = None, **known: Any) -> Remote:
    mirrors = [lambda url=url: Address(url, headers or {}) for url in urls or (URL,)]
    return Remote("set.zip", tuple(mirrors), advice="Fetch it by hand.", **known)


def offer(hosts: Hosts, *faults: Fault, host: str = HOST, **fields: Any) -> Resource:
    resource = Resource(**{"content": CONTENT, "faults": list(faults), **fields})
    hosts.add(host, "/set.zip", resource)
    return resource


def fetch(folder: Path, wanted: Remote | None = None, **options: Any) -> Receipt:
    """Download, and see that the file is whole and nothing but the receipt lies beside it."""
    path, receipt = download(wanted or remote(), folder, **{"limits": LIMITS, **options})
    assert path == folder / "set.zip"
    assert path.read_bytes() == CONTENT
    assert (receipt.size, receipt.sha256) == (len(CONTENT), SHA256)
    assert names(folder) == {"set.zip", "set.zip.json"}
    return receipt


def fail(folder: Path, wanted: Remote | None = None, **options: Any) -> str:
    with pytest.raises(IcanvasError) as caught:
        download(wanted or remote(), folder, **{"limits": LIMITS, **options})
    return f"{type(caught.value).__name__}: {caught.value}"


def interrupt(hosts: Hosts, folder: Path, after: int = 1000, **fields: Any) -> Resource:
    """Leave a part of so many bytes, and forget the requests made for it."""
    resource = offer(hosts, broken(cut=after), **fields)
    assert "IntegrityError" in fail(folder, limits=ONCE)
    hosts.requests.clear()
    return resource


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"set.zip.lock"}


def ranges(hosts: Hosts) -> list[str | None]:
    return [request.headers.get("range") for request in hosts.requests]


# ---- A sound host


def test_a_file_comes_whole_with_its_receipt(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts)
    receipt = fetch(tmp_path / "new" / "folder")
    assert receipt == Receipt(
        url=URL,
        size=len(CONTENT),
        sha256=SHA256,
        etag='"1"',
        last_modified="Mon, 02 Nov 2026 08:00:00 GMT",
    )
    (request,) = hosts.requests
    assert request.headers["user-agent"] == "icanvas/0.1"
    assert request.headers["accept-encoding"] == "identity"


def test_a_second_call_asks_nobody(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts)
    known = remote(size=len(CONTENT), sha256=SHA256.upper(), md5=MD5)
    assert fetch(tmp_path, known) == fetch(tmp_path, known)
    assert len(hosts.requests) == 1


@pytest.mark.parametrize(
    "known",
    [{"size": 5}, {"sha256": "0" * 64}, {"md5": "0" * 32}],
    ids=lambda known: next(iter(known)),
)
def test_a_finished_file_that_is_not_the_wanted_one_is_asked_for_again(
    hosts: Hosts, tmp_path: Path, known: dict[str, Any]
) -> None:
    offer(hosts)
    fetch(tmp_path)
    assert "IntegrityError" in fail(tmp_path, remote(**known))
    assert len(hosts.requests) == 2


def test_a_finished_file_that_was_altered_is_not_trusted(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts)
    fetch(tmp_path)
    (tmp_path / "set.zip").write_bytes(CONTENT[:-1] + b"x")
    fetch(tmp_path)
    assert len(hosts.requests) == 2


def test_progress_is_told_from_the_first_to_the_last_byte(hosts: Hosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    told: list[tuple[int, int | None]] = []
    fetch(tmp_path, on_bytes=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert (told[0], told[-1]) == ((1000, len(CONTENT)), (len(CONTENT), len(CONTENT)))


def pack_tar() -> bytes:
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [CONTENT, b"PK\x05\x06" + bytes(18), gzip.compress(b"x"), bz2.compress(b"x"),
     lzma.compress(b"x"), pack_tar()],
    ids=["zip", "empty zip", "gzip", "bzip2", "xz", "tar"],
)  # fmt: skip
def test_every_kind_of_archive_is_taken(hosts: Hosts, tmp_path: Path, content: bytes) -> None:
    # One byte after the other: the beginning may come in pieces of any size.
    offer(hosts, content=content, faults=[broken(drip=1e-6)] if len(content) < 999 else [])
    path, _ = download(remote(), tmp_path, limits=LIMITS)
    assert path.read_bytes() == content


def test_bytes_are_kept_as_sent_even_where_a_host_calls_them_compressed(
    hosts: Hosts, tmp_path: Path
) -> None:
    offer(hosts, headers={"Content-Encoding": "gzip"})
    fetch(tmp_path)


def test_a_file_of_no_told_size_is_taken_if_its_end_shows(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts, broken(framing="chunked"))
    fetch(tmp_path)


def test_a_file_whose_end_does_not_show_is_refused_unless_it_can_be_checked(
    hosts: Hosts, tmp_path: Path
) -> None:
    offer(hosts, always=broken(framing="none"))
    assert "SourceError" in (told := fail(tmp_path)) and "does not tell the file's size" in told
    fetch(tmp_path, remote(sha256=SHA256))


# ---- Transfers that break


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(broken(cut=70_000), id="cut"),
        pytest.param(broken(cut=70_000, reset=True), id="reset"),
        pytest.param(broken(cut=3), id="cut in the mark"),
        pytest.param(broken(cut=0), id="cut at once"),
        pytest.param(broken(cut=70_000, framing="chunked"), id="cut chunked"),
        *(pytest.param(status(code), id=str(code)) for code in (408, 425, 429, 500, 502, 503)),
    ],
)
def test_what_may_pass_is_asked_again(hosts: Hosts, tmp_path: Path, fault: Fault) -> None:
    offer(hosts, fault)
    fetch(tmp_path)
    assert len(hosts.requests) == 2


def test_silence_is_broken_off_and_asked_again(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts, broken(cut=70_000, stall=20))
    fetch(tmp_path, limits=replace(LIMITS, read=0.5))
    assert ranges(hosts)[:2] == [None, "bytes=70000-"]


def test_a_dripping_body_is_a_stall(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts, always=broken(drip=0.01))
    told = fail(tmp_path, limits=replace(LIMITS, attempts=2, stall_seconds=0.3))
    assert told.startswith("IntegrityError") and "(stalled)" in told
    # The few bytes are kept, but they are no reason to go on like that for ever.
    assert len(hosts.requests) == 2 and ranges(hosts)[1] is not None


def test_a_broken_transfer_goes_on_where_it_stopped(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts, broken(cut=1000), broken(cut=500))
    fetch(tmp_path)
    assert ranges(hosts) == [None, "bytes=1000-", "bytes=1500-"]
    assert hosts.requests[1].headers["if-range"] == '"1"'


def test_the_next_call_goes_on_where_the_last_stopped(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts, broken(cut=123_000))
    assert fail(tmp_path, limits=ONCE) == (
        "IntegrityError: set.zip was not downloaded: storage.example/set.zip stopped at 123.0 of "
        "307.2 kB (connection closed early). The part is kept: run again to resume."
    )
    assert names(tmp_path) == {"set.zip.part", "set.zip.part.json"}
    fetch(tmp_path)
    assert ranges(hosts) == [None, "bytes=123000-"]


def test_progress_starts_the_count_of_attempts_again(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts, *[broken(cut=2000)] * 9)
    fetch(tmp_path)
    assert len(hosts.requests) == 10


def test_attempts_that_bring_nothing_new_come_to_an_end(
    hosts: Hosts, tmp_path: Path, pauses: list[float]
) -> None:
    offer(hosts, always=broken(cut=100_000), etag=None, last_modified=None)
    told = fail(tmp_path, limits=Limits())
    assert "stopped at 100.0 of 307.2 kB" in told and told.endswith(" Run again. Fetch it by hand.")
    # The first brought something; from then on the same bytes came five times.
    assert len(hosts.requests) == 6
    for pause, most in zip(pauses, (1, 1, 2, 4, 8), strict=True):
        assert most / 2 <= pause <= most


def test_addresses_that_differ_every_time_come_to_an_end_too(hosts: Hosts, tmp_path: Path) -> None:
    paths = (f"/{number}/set.zip" for number in range(99))
    for number in range(99):
        hosts.add(HOST, f"/{number}/set.zip", Resource(CONTENT, always=broken(cut=100_000)))
    mirror = lambda: Address(f"https://{HOST}{next(paths)}")  # noqa: E731
    assert "stopped at" in fail(tmp_path, Remote("set.zip", (mirror,)))
    assert len(hosts.requests) == 1 + LIMITS.attempts


def test_a_second_mirror_may_make_slow_progress_too(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts, broken(cut=200_000), always=status(404))
    offer(hosts, *[broken(cut=10_000)] * 9, host="other.example")
    fetch(tmp_path, remote(URL, "https://other.example/set.zip"))


def test_a_host_may_ask_for_a_pause(hosts: Hosts, tmp_path: Path, pauses: list[float]) -> None:
    soon = formatdate(time.time() + 40, usegmt=True)
    offer(hosts, status(429, Retry_After="3"), status(503, Retry_After=soon))
    fetch(tmp_path, limits=Limits(backoff=0.001))
    assert pauses[0] == 3
    assert 35 < pauses[1] <= 40


def test_too_long_a_pause_is_an_error_that_tells_it(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts, status(429, Retry_After="7200"))
    told = fail(tmp_path)
    assert told.startswith("SourceError") and "(429) and asks to wait 2 h: run again after" in told
    assert len(hosts.requests) == 1


def test_ctrl_c_passes_and_keeps_the_part(hosts: Hosts, tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    offer(hosts)
    with pytest.raises(KeyboardInterrupt):
        download(remote(), tmp_path, on_bytes=stop, limits=LIMITS)
    kept = (tmp_path / "set.zip.part").stat().st_size
    fetch(tmp_path)
    assert kept > 100_000 and ranges(hosts) == [None, f"bytes={kept}-"]


# ---- Whether a part may be resumed


@pytest.mark.parametrize(
    ("fields", "validator"),
    [
        ({"etag": 'W/"1"', "last_modified": None}, None),
        ({"etag": None, "last_modified": None}, None),
        ({"etag": 'W/"1"'}, "Mon, 02 Nov 2026 08:00:00 GMT"),
        ({"etag": None}, "Mon, 02 Nov 2026 08:00:00 GMT"),
        ({"last_modified": None}, '"1"'),
    ],
)
def test_only_what_names_the_very_bytes_lets_a_part_be_resumed(
    hosts: Hosts, tmp_path: Path, fields: dict[str, Any], validator: str | None
) -> None:
    interrupt(hosts, tmp_path, **fields)
    fetch(tmp_path)
    assert hosts.requests[0].headers.get("if-range") == validator
    assert ranges(hosts) == ["bytes=1000-" if validator else None]


def test_a_date_without_a_size_does_not_let_a_part_be_resumed(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts, broken(cut=1000, framing="chunked"), etag=None)
    fetch(tmp_path)
    assert ranges(hosts) == [None, None]


def test_a_part_from_elsewhere_is_not_resumed(hosts: Hosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    offer(hosts, host="other.example")
    fetch(tmp_path, remote("https://other.example/set.zip?signed"))
    assert ranges(hosts) == [None]


def test_a_new_signature_does_not_stop_a_part_from_being_resumed(
    hosts: Hosts, tmp_path: Path
) -> None:
    interrupt(hosts, tmp_path)
    fetch(tmp_path, remote(f"{URL}?Signature=new"))
    assert ranges(hosts) == ["bytes=1000-"]


@pytest.mark.parametrize("etag", ['"2"', None])
def test_a_file_that_changed_is_fetched_from_its_start(
    hosts: Hosts, tmp_path: Path, etag: str | None
) -> None:
    interrupt(hosts, tmp_path, content=CONTENT[:4] + CONTENT[:3:-1])
    offer(hosts, becomes(CONTENT, etag), last_modified="Tue, 03 Nov 2026 08:00:00 GMT")
    fetch(tmp_path)


@pytest.mark.parametrize(
    "told", ["bytes 999-307203/307204", "bytes 1000-1999/2000", "bytes */*", ""]
)
def test_a_range_of_something_else_is_not_appended(hosts: Hosts, tmp_path: Path, told: str) -> None:
    interrupt(hosts, tmp_path).faults = [on_range(with_headers(Content_Range=told))]
    fetch(tmp_path)
    assert ranges(hosts) == ["bytes=1000-", None]


def test_a_range_of_a_changed_file_is_not_appended(hosts: Hosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path).faults = [on_range(with_headers(ETag='"2"'))]
    fetch(tmp_path)
    assert ranges(hosts) == ["bytes=1000-", None]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 412, 416, 501])
def test_a_refused_range_is_followed_by_a_request_for_all(
    hosts: Hosts, tmp_path: Path, code: int
) -> None:
    interrupt(hosts, tmp_path).always = on_range(status(code, b"<Error>expired</Error>"))
    fetch(tmp_path)
    assert ranges(hosts) == ["bytes=1000-", None]


def test_a_range_that_is_ignored_starts_again(hosts: Hosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path).faults = [range_ignored()]
    fetch(tmp_path)
    assert ranges(hosts) == ["bytes=1000-"]


def test_a_part_outlives_a_host_that_refuses_for_now(hosts: Hosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path).faults = [status(403), status(403)]
    assert "The part is kept" in fail(tmp_path)
    fetch(tmp_path)
    assert ranges(hosts)[2:] == ["bytes=1000-"]


@pytest.mark.parametrize("sidecar", [None, b"", b"{}", b'{"asked":5}', b"\xff"])
def test_a_part_without_a_sound_trace_is_not_used(
    hosts: Hosts, tmp_path: Path, sidecar: bytes | None
) -> None:
    interrupt(hosts, tmp_path)
    trace = tmp_path / "set.zip.part.json"
    trace.unlink() if sidecar is None else trace.write_bytes(sidecar)
    fetch(tmp_path)
    assert ranges(hosts) == [None]


def test_a_part_longer_than_the_file_is_not_used(hosts: Hosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    (tmp_path / "set.zip.part").write_bytes(CONTENT + b"more")
    fetch(tmp_path)
    assert ranges(hosts) == [None]


def test_a_whole_part_is_confirmed_by_its_last_byte(hosts: Hosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    (tmp_path / "set.zip.part").write_bytes(CONTENT)
    fetch(tmp_path)
    assert ranges(hosts) == [f"bytes={len(CONTENT) - 1}-"]


def test_a_part_that_was_altered_fails_its_hash_and_goes(hosts: Hosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    (tmp_path / "set.zip.part").write_bytes(b"PK\x03\x04" + bytes(996))
    told = fail(tmp_path, remote(sha256=SHA256))
    assert told.startswith("IntegrityError") and "SHA-256 is not the expected one" in told
    assert names(tmp_path) == set()
    fetch(tmp_path, remote(sha256=SHA256))


# ---- Hosts that refuse, and what is no archive


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_not_asked_again(hosts: Hosts, tmp_path: Path, code: int) -> None:
    offer(hosts, always=status(code))
    told = fail(tmp_path)
    assert told.startswith(f"SourceError: set.zip was not downloaded: {HOST}/set.zip ")
    assert str(code) in told and told.endswith(". Fetch it by hand.")
    assert len(hosts.requests) == 1
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (status(202, x_amzn_waf_action="challenge"), "202 with a bot challenge"),
        (status(405, x_amzn_waf_action="captcha"), "405 with a bot challenge"),
        (status(202), "answered 202"),
        (status(204), "answered 204"),
        (status(206, CONTENT), "answered 206"),
        (status(226, CONTENT), "answered 226"),
        (status(304), "answered 304"),
        (status(200), "sent nothing"),
        (broken(body=b"", framing="chunked"), "sent nothing"),
        (page(), r"sent a web page \(text/html\), not an archive"),
        (status(200, b"\n<!doctype HTML><p>Sign in"), "sent a web page that is no zip or tar"),
        (status(200, b'{"error": "later"}' * 99), "sent something that is no zip or tar"),
    ],
)
def test_what_is_not_the_file_is_refused_and_not_kept(
    hosts: Hosts, tmp_path: Path, fault: Fault, told: str
) -> None:
    offer(hosts, always=fault)
    with pytest.raises(SourceError, match=told):
        download(remote(), tmp_path, limits=LIMITS)
    assert len(hosts.requests) == 1
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("known", "headers", "told"),
    [
        ({"sha256": "0" * 64}, {}, "SHA-256 is not the expected"),
        ({"md5": "0" * 32}, {}, "MD5 is not the expected"),
        ({}, {"x-goog-hash": "crc32c=n03x6A==,md5=AAAAAAAAAAAAAAAAAAAAAA=="}, "MD5 is not"),
        ({"size": 5}, {}, "offers 307204 bytes where 5 are expected"),
    ],
    ids=["sha256", "md5", "x-goog-hash", "size"],
)
def test_bytes_that_fail_their_check_are_not_kept(
    hosts: Hosts, tmp_path: Path, known: dict[str, Any], headers: dict[str, str], told: str
) -> None:
    offer(hosts, headers=headers)
    with pytest.raises(IntegrityError, match=told):
        download(remote(**known), tmp_path, limits=LIMITS)
    assert len(hosts.requests) == 1
    assert names(tmp_path) == set()


@pytest.mark.parametrize("size", [5, len(CONTENT) + 1])
def test_a_file_of_untold_size_has_to_have_the_known_one(
    hosts: Hosts, tmp_path: Path, size: int
) -> None:
    offer(hosts, broken(framing="chunked"))
    assert f"another size than {size} bytes" in fail(tmp_path, remote(size=size))
    assert names(tmp_path) == set()


# ---- Redirects and secrets


@pytest.mark.parametrize(
    ("there", "kept"),
    [
        (f"https://{HOST}/set.zip", True),
        ("https://other.example/set.zip", False),
        (f"https://{HOST}:8443/set.zip", False),
    ],
    ids=["same", "host", "port"],
)
def test_a_token_goes_to_its_own_host_only(
    hosts: Hosts, tmp_path: Path, there: str, kept: bool
) -> None:
    offer(hosts)
    offer(hosts, host="other.example")
    hosts.add(HOST, "/api", Resource(b"", always=redirect(there)))
    secret = {"authorization": "Bearer secret-token", "X-Key": "secret", "Accept": "a/b"}
    fetch(tmp_path, remote(f"https://{HOST}/api", headers=secret))
    first, second = hosts.requests
    assert first.headers["authorization"] == "Bearer secret-token"
    assert ("authorization" in second.headers, "x-key" in second.headers) == (kept, kept)
    assert second.headers["accept"] == "a/b"


def test_redirects_come_to_an_end(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts, always=redirect(URL))
    assert "redirected more than 10 times" in fail(tmp_path)
    assert len(hosts.requests) == 11


@pytest.mark.parametrize("there", ["ftp://other.example/set.zip", "file:///etc/passwd", "https://"])
def test_only_web_addresses_are_followed(hosts: Hosts, tmp_path: Path, there: str) -> None:
    assert "leads to" in fail(tmp_path, remote(there))
    offer(hosts, always=redirect(there))
    assert "SourceError" in fail(tmp_path)


@pytest.mark.parametrize("redirected", [False, True])
def test_plain_http_needs_leave_or_a_known_hash(
    hosts: Hosts, tmp_path: Path, redirected: bool
) -> None:
    plain = f"http://{HOST}/set.zip"
    offer(hosts)
    hosts.add(HOST, "/api", Resource(b"", always=redirect(plain)))
    url = f"https://{HOST}/api" if redirected else plain
    told = fail(tmp_path, remote(url))
    assert told.startswith("SourceError") and "--allow-http" in told
    fetch(tmp_path / "allowed", remote(url), allow_http=True)
    fetch(tmp_path / "pinned", remote(url, sha256=SHA256))
    schemes = [request.scheme for request in hosts.requests if request.path == "/set.zip"]
    assert schemes == ["http", "http"]


def test_a_token_never_goes_over_plain_http_unasked(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts)
    wanted = remote(f"http://{HOST}/set.zip", headers={"Authorization": "x"}, sha256=SHA256)
    assert "--allow-http" in fail(tmp_path, wanted)
    assert not hosts.requests


def test_no_secret_is_shown_logged_or_stored(
    hosts: Hosts,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    signed = f"https://user:xyzzy@{HOST}/set.zip?X-Goog-Signature=xyzzy"
    api = Resource(b"", always=redirect(signed))
    hosts.add("api.example", "/api", api)
    faults = [broken(cut=1000), page(), status(404), status(429, Retry_After="9999"),
              redirect(f"http://{HOST}/?xyzzy"), redirect("https://gone.example/?xyzzy"),
              redirect("https://x:port/?xyzzy"), broken(cut=1, reset=True)]  # fmt: skip
    resource = offer(hosts)
    wanted = remote("https://api.example/api?key=xyzzy", headers={"Authorization": "Bearer xyzzy"})
    shown = repr(wanted.mirrors[0]())
    for fault in faults:
        resource.faults = [on_range(status(403)), fault]
        with pytest.raises(IcanvasError) as caught:
            download(wanted, tmp_path, limits=ONCE)
        shown += "".join(traceback.format_exception(caught.value))
        shown += b"".join(path.read_bytes()[:9999] for path in tmp_path.iterdir()).decode("latin-1")
    resource.faults = []
    shown += fetch(tmp_path, wanted).model_dump_json()
    shown += (tmp_path / "set.zip.json").read_text() + caplog.text + "".join(capfd.readouterr())
    assert "api.example" in shown
    assert "xyzzy" not in shown
    assert any("xyzzy" in request.query for request in hosts.requests)


# ---- Mirrors and the network


def test_the_next_mirror_is_tried(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts, always=page())
    offer(hosts, host="other.example")
    receipt = fetch(tmp_path, remote(URL, "https://other.example/set.zip"))
    assert receipt.url == "https://other.example/set.zip"


def test_an_error_names_every_mirror_and_is_the_last_ones(hosts: Hosts, tmp_path: Path) -> None:
    offer(hosts, always=page())
    offer(hosts, host="other.example", always=with_headers(ETag='"3"'))
    told = fail(tmp_path, remote(URL, "https://other.example/set.zip", sha256="0" * 64))
    assert told.startswith("IntegrityError: set.zip was not downloaded: storage.example/set.zip ")
    assert "web page" in told and "; other.example/set.zip sent a file whose SHA-256" in told


def test_an_interrupted_mirror_counts_for_more_than_one_that_refuses(
    hosts: Hosts, tmp_path: Path
) -> None:
    offer(hosts, broken(cut=1000))
    offer(hosts, host="other.example", always=status(404))
    told = fail(tmp_path, remote(URL, "https://other.example/set.zip"), limits=ONCE)
    assert told.startswith("IntegrityError") and "The part is kept: run again to resume." in told
    fetch(tmp_path)
    assert ranges(hosts)[-1] == "bytes=1000-"


def test_an_address_is_made_anew_for_every_request(hosts: Hosts, tmp_path: Path) -> None:
    made: list[None] = []

    def sign() -> Address:
        made.append(None)
        return Address(f"{URL}?Signature={len(made)}")

    offer(hosts, broken(cut=1000), on_range(status(403)))
    fetch(tmp_path, Remote("set.zip", (sign,)))
    assert [request.query for request in hosts.requests] == [f"Signature={i}" for i in (1, 2, 3)]


def test_an_address_that_cannot_be_made_counts_as_a_refusal(hosts: Hosts, tmp_path: Path) -> None:
    def refuse() -> Address:
        raise SourceError("Kaggle wants a login.")

    offer(hosts)
    fetch(tmp_path, Remote("set.zip", (refuse, *remote().mirrors)))
    told = fail(tmp_path / "other", Remote("set.zip", (refuse,)))
    assert told == "SourceError: set.zip was not downloaded: Kaggle wants a login."


def test_without_a_network_the_error_comes_soon_and_says_so(
    hosts: Hosts, tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = fail(tmp_path, limits=Limits())
    assert told.startswith("SourceError") and "cannot be reached (refused by the proxy" in told
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "")
    for url, reason in (
        ("https://127.0.0.1:1/set.zip", "connection refused"),
        ("https://name.invalid/set.zip", "unknown host name"),
    ):
        assert f"cannot be reached ({reason}; check the network)" in fail(
            tmp_path, remote(url), limits=Limits()
        )
    assert len(pauses) == 6 and sum(pauses[:2]) < 10


def test_a_certificate_that_is_not_trusted_is_refused(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(hosts)
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "certificate that is not trusted; SSL_CERT_FILE" in fail(tmp_path)
    assert not hosts.requests


def test_network_settings_that_make_no_sense_are_named(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/none/such.pem")
    with pytest.raises(InputError, match="SSL_CERT_FILE"):
        download(remote(), tmp_path)


@pytest.mark.parametrize("name", ["../set.zip", "", "a/b", "/etc/x", ".."])
def test_a_file_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        download(Remote(name, ()), tmp_path)


# ---- The disk


def test_too_little_space_is_told_before_anything_is_written(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(hosts)
    usage = SimpleNamespace(free=(64 << 20) + len(CONTENT) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert fail(tmp_path) == (
        f"StorageError: set.zip needs 67.4 MB in {tmp_path}, where 67.4 MB are free. "
        "Free some, or choose another place with --cache."
    )
    assert names(tmp_path) == set()
    usage.free += 1
    fetch(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(hosts: Hosts, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(StorageError, match="--cache"):
            download(remote(), folder)


SCRIPT = f"""
import resource, sys
from pathlib import Path
from datasets.sources.download import Address, Remote, download
if most := int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
print("ready", flush=True)
try:
    print(download(Remote("set.zip", (lambda: Address("{URL}"),)), Path(sys.argv[1]))[1].sha256)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def start(hosts: Hosts) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start downloads in processes of their own; the files they write may be limited in size."""
    started = []

    def run(folder: Path, most: int = 0) -> "subprocess.Popen[str]":
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(folder), str(most)],
                cwd=ROOT,
                env={**os.environ, **hosts.environment()},
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
    hosts: Hosts, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    offer(hosts)
    told, _ = start(tmp_path, most=100_001).communicate(timeout=20)
    assert "StorageError The disk is full" in told and "--cache" in told
    assert (tmp_path / "set.zip.part").read_bytes() == CONTENT[:100_001]
    fetch(tmp_path)
    assert ranges(hosts) == [None, "bytes=100001-"]


def test_a_killed_process_leaves_a_part_that_is_resumed(
    hosts: Hosts, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    offer(hosts, broken(cut=200_000, stall=30))
    process = start(tmp_path)
    part = tmp_path / "set.zip.part"
    until = time.monotonic() + 20
    while not part.exists() or part.stat().st_size < 200_000:
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    fetch(tmp_path)
    assert ranges(hosts) == [None, "bytes=200000-"]


def test_two_processes_at_once_fetch_the_bytes_once(
    hosts: Hosts, tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
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


@pytest.mark.parametrize("known", [{"sha256": SHA256}, {"md5": MD5}, {"size": len(CONTENT)}, {}])
def test_a_file_without_its_receipt_is_trusted_for_its_hash_alone(
    hosts: Hosts, tmp_path: Path, known: dict[str, Any]
) -> None:
    """As when the process is killed between the two."""
    offer(hosts)
    first = fetch(tmp_path)
    trace = json.loads((tmp_path / "set.zip.json").read_text()) | {"asked": URL}
    (tmp_path / "set.zip.json").rename(tmp_path / "set.zip.part.json")
    (tmp_path / "set.zip.part.json").write_text(json.dumps(trace))
    assert fetch(tmp_path, remote(**known)) == first
    assert len(hosts.requests) == (1 if "sha256" in known or "md5" in known else 2)


def test_a_file_without_receipt_that_fails_its_hash_is_replaced(
    hosts: Hosts, tmp_path: Path
) -> None:
    offer(hosts)
    (tmp_path / "set.zip").write_bytes(CONTENT[:-1] + b"x")
    fetch(tmp_path, remote(sha256=SHA256))


# ---- All together


after = st.integers(0, 3000)
faults = st.one_of(
    st.builds(lambda n: broken(cut=n), after),
    st.builds(lambda n: broken(cut=n, reset=True), after),
    st.builds(lambda n: broken(cut=n, framing="chunked"), after),
    st.builds(range_ignored),
    st.builds(lambda: status(503)),
    st.builds(lambda: on_range(status(403))),
    st.builds(lambda: on_range(with_headers(Content_Range="bytes 0-5/6"))),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    body=st.binary(max_size=3000),
    mishaps=st.lists(faults, max_size=5),
    etag=st.sampled_from(['"1"', 'W/"1"', None]),
)
def test_whatever_goes_wrong_the_bytes_are_right(
    hosts: Hosts, body: bytes, mishaps: list[Fault], etag: str | None
) -> None:
    content = b"PK\x03\x04" + body
    offer(hosts, *mishaps, content=content, etag=etag)
    with tempfile.TemporaryDirectory() as folder:
        path, receipt = download(
            remote(), Path(folder), limits=Limits(read=2, attempts=9, backoff=1e-4)
        )
        assert path.read_bytes() == content
        assert receipt.sha256 == hashlib.sha256(content).hexdigest()
