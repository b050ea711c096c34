"""Downloads from working hosts, from hosts that refuse, and with random faults."""

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.errors import IntegrityError, SourceError
from sources.fetch.download import DownloadRecord, HttpLimits, download
from tests.hosts import (
    FakeHosts,
    Fault,
    faulty,
    html_page,
    on_range,
    range_ignored,
    status,
    with_headers,
)
from tests.sources.fetch import transfers
from tests.sources.fetch.transfers import (
    ADVICE,
    CONTENT,
    HOST,
    LIMITS,
    MD5,
    SHA256,
    URL,
    fetch,
    fetch_error,
    interrupt,
    list_names,
    make_remote,
    serve_file,
)

hosts = transfers.hosts


def test_file_and_record_are_written(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts)
    record = fetch(tmp_path / "new" / "folder")
    assert record == DownloadRecord(
        url=URL,
        size=len(CONTENT),
        sha256=SHA256,
        etag='"1"',
        last_modified="Mon, 02 Nov 2026 08:00:00 GMT",
    )
    (request,) = hosts.requests
    assert request.headers["user-agent"] == "icanvas/0.1"
    assert request.headers["accept-encoding"] == "identity"


def test_second_call_sends_no_request(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts)
    checks = make_remote(size=len(CONTENT), sha256=SHA256.upper(), md5=MD5)
    assert fetch(tmp_path, checks) == fetch(tmp_path, checks)
    assert len(hosts.requests) == 1


@pytest.mark.parametrize(
    "checks",
    [{"size": 5}, {"sha256": "0" * 64}, {"md5": "0" * 32}],
    ids=lambda checks: next(iter(checks)),
)
def test_finished_file_that_fails_its_checks_is_requested_again(
    hosts: FakeHosts, tmp_path: Path, checks: dict[str, Any]
) -> None:
    serve_file(hosts)
    fetch(tmp_path)
    assert "set.zip was not downloaded" in fetch_error(tmp_path, make_remote(**checks))
    assert len(hosts.requests) == 2


def test_modified_finished_file_is_downloaded_again(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts)
    fetch(tmp_path)
    (tmp_path / "set.zip").write_bytes(CONTENT[:-1] + b"x")
    fetch(tmp_path)
    assert len(hosts.requests) == 2


def test_progress_is_reported_to_the_last_byte(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    calls: list[tuple[int, int | None]] = []
    fetch(tmp_path, on_bytes=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert (calls[0], calls[-1]) == ((1000, len(CONTENT)), (len(CONTENT), len(CONTENT)))


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
def test_every_archive_format_is_accepted(hosts: FakeHosts, tmp_path: Path, content: bytes) -> None:
    # Byte by byte: the first bytes can arrive in chunks of any size.
    serve_file(hosts, content=content, faults=[faulty(drip=1e-6)] if len(content) < 999 else [])
    path, _ = download(make_remote(), tmp_path, limits=LIMITS)
    assert path.read_bytes() == content


def test_content_encoding_is_not_decoded(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, headers={"Content-Encoding": "gzip"})
    fetch(tmp_path)


def test_chunked_file_without_size_is_accepted(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, faulty(framing="chunked"))
    fetch(tmp_path)


def test_file_without_size_or_hash_is_refused(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, default_fault=faulty(framing="none"))
    assert (
        "SourceError" in (message := fetch_error(tmp_path))
        and "does not state the file's size" in message
    )
    fetch(tmp_path, make_remote(sha256=SHA256))


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_refusal_is_not_retried(hosts: FakeHosts, tmp_path: Path, code: int) -> None:
    serve_file(hosts, default_fault=status(code))
    message = fetch_error(tmp_path)
    assert message.startswith(f"SourceError: set.zip was not downloaded: {HOST}/set.zip ")
    assert str(code) in message and message.endswith(f". {ADVICE}")
    assert len(hosts.requests) == 1
    assert list_names(tmp_path) == set()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(202, x_amzn_waf_action="challenge"), "202 with a bot challenge"),
        (status(405, x_amzn_waf_action="captcha"), "405 with a bot challenge"),
        (status(202), "answered 202"),
        (status(204), "answered 204"),
        (status(206, CONTENT), "answered 206"),
        (status(226, CONTENT), "answered 226"),
        (status(304), "answered 304"),
        (status(200), "sent an empty file"),
        (faulty(body=b"", framing="chunked"), "sent an empty file"),
        (html_page(), r"sent a web page \(text/html\), not an archive"),
        (status(200, b"\n<!doctype HTML><p>Sign in"), "sent a web page that is not a zip or tar"),
        (status(200, b'{"error": "later"}' * 99), "sent something that is not a zip or tar"),
    ],
)
def test_unexpected_response_is_refused_and_not_stored(
    hosts: FakeHosts, tmp_path: Path, fault: Fault, message: str
) -> None:
    serve_file(hosts, default_fault=fault)
    with pytest.raises(SourceError, match=message):
        download(make_remote(), tmp_path, limits=LIMITS)
    assert len(hosts.requests) == 1
    assert list_names(tmp_path) == set()


@pytest.mark.parametrize(
    ("checks", "headers", "message"),
    [
        ({"sha256": "0" * 64}, {}, "SHA-256 is not the expected"),
        ({"md5": "0" * 32}, {}, "MD5 is not the expected"),
        ({}, {"x-goog-hash": "crc32c=n03x6A==,md5=AAAAAAAAAAAAAAAAAAAAAA=="}, "MD5 is not"),
        ({"size": 5}, {}, "offers another file, of 307204 bytes instead of 5"),
    ],
    ids=["sha256", "md5", "x-goog-hash", "size"],
)
def test_bytes_that_fail_a_check_are_deleted(
    hosts: FakeHosts, tmp_path: Path, checks: dict[str, Any], headers: dict[str, str], message: str
) -> None:
    serve_file(hosts, headers=headers)
    with pytest.raises((SourceError, IntegrityError), match=message):
        download(make_remote(**checks), tmp_path, limits=LIMITS)
    assert len(hosts.requests) == 1
    assert list_names(tmp_path) == set()


@pytest.mark.parametrize("size", [5, len(CONTENT) + 1])
def test_chunked_file_must_have_the_expected_size(
    hosts: FakeHosts, tmp_path: Path, size: int
) -> None:
    serve_file(hosts, faulty(framing="chunked"))
    assert f"whose size is not the expected {size} bytes" in fetch_error(
        tmp_path, make_remote(size=size)
    )
    assert list_names(tmp_path) == set()


lengths = st.integers(0, 3000)
faults = st.one_of(
    st.builds(lambda n: faulty(cut=n), lengths),
    st.builds(lambda n: faulty(cut=n, reset=True), lengths),
    st.builds(lambda n: faulty(cut=n, framing="chunked"), lengths),
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
    random_faults=st.lists(faults, max_size=5),
    etag=st.sampled_from(['"1"', 'W/"1"', None]),
)
def test_random_faults_do_not_corrupt_the_file(
    hosts: FakeHosts, body: bytes, random_faults: list[Fault], etag: str | None
) -> None:
    content = b"PK\x03\x04" + body
    serve_file(hosts, *random_faults, content=content, etag=etag)
    with tempfile.TemporaryDirectory() as folder:
        path, record = download(
            make_remote(),
            Path(folder),
            limits=HttpLimits(read_timeout=2, max_attempts=9, backoff=1e-4),
        )
        assert path.read_bytes() == content
        assert record.sha256 == hashlib.sha256(content).hexdigest()
