"""The downloader: sound hosts, hosts that refuse, and all mishaps together."""

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
    Fault,
    FakeHosts,
    faulty,
    on_range,
    html_page,
    range_ignored,
    status,
    with_headers,
)
from tests.sources.fetch import transfers
from tests.sources.fetch.transfers import (
    CONTENT,
    HOST,
    LIMITS,
    MD5,
    SHA256,
    URL,
    fetch_error,
    fetch,
    interrupt,
    list_names,
    serve_file,
    make_remote,
)

hosts = transfers.hosts


def test_a_file_comes_whole_with_its_receipt(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts)
    receipt = fetch(tmp_path / "new" / "folder")
    assert receipt == DownloadRecord(
        url=URL,
        size=len(CONTENT),
        sha256=SHA256,
        etag='"1"',
        last_modified="Mon, 02 Nov 2026 08:00:00 GMT",
    )
    (request,) = hosts.requests
    assert request.headers["user-agent"] == "icanvas/0.1"
    assert request.headers["accept-encoding"] == "identity"


def test_a_second_call_asks_nobody(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts)
    known = make_remote(size=len(CONTENT), sha256=SHA256.upper(), md5=MD5)
    assert fetch(tmp_path, known) == fetch(tmp_path, known)
    assert len(hosts.requests) == 1


@pytest.mark.parametrize(
    "known",
    [{"size": 5}, {"sha256": "0" * 64}, {"md5": "0" * 32}],
    ids=lambda known: next(iter(known)),
)
def test_a_finished_file_that_is_not_the_wanted_one_is_asked_for_again(
    hosts: FakeHosts, tmp_path: Path, known: dict[str, Any]
) -> None:
    serve_file(hosts)
    fetch(tmp_path)
    assert "set.zip was not downloaded" in fetch_error(tmp_path, make_remote(**known))
    assert len(hosts.requests) == 2


def test_a_finished_file_that_was_altered_is_not_trusted(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts)
    fetch(tmp_path)
    (tmp_path / "set.zip").write_bytes(CONTENT[:-1] + b"x")
    fetch(tmp_path)
    assert len(hosts.requests) == 2


def test_progress_is_told_from_the_first_to_the_last_byte(hosts: FakeHosts, tmp_path: Path) -> None:
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
def test_every_kind_of_archive_is_taken(hosts: FakeHosts, tmp_path: Path, content: bytes) -> None:
    # One byte after the other: the beginning may come in pieces of any size.
    serve_file(hosts, content=content, faults=[faulty(drip=1e-6)] if len(content) < 999 else [])
    path, _ = download(make_remote(), tmp_path, limits=LIMITS)
    assert path.read_bytes() == content


def test_bytes_are_kept_as_sent_even_where_a_host_calls_them_compressed(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    serve_file(hosts, headers={"Content-Encoding": "gzip"})
    fetch(tmp_path)


def test_a_file_of_no_told_size_is_taken_if_its_end_shows(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, faulty(framing="chunked"))
    fetch(tmp_path)


def test_a_file_whose_end_does_not_show_is_refused_unless_it_can_be_checked(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    serve_file(hosts, always=faulty(framing="none"))
    assert "SourceError" in (told := fetch_error(tmp_path)) and "does not tell the file's size" in told
    fetch(tmp_path, make_remote(sha256=SHA256))


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_not_asked_again(hosts: FakeHosts, tmp_path: Path, code: int) -> None:
    serve_file(hosts, always=status(code))
    told = fetch_error(tmp_path)
    assert told.startswith(f"SourceError: set.zip was not downloaded: {HOST}/set.zip ")
    assert str(code) in told and told.endswith(". Fetch it by hand.")
    assert len(hosts.requests) == 1
    assert list_names(tmp_path) == set()


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
        (faulty(body=b"", framing="chunked"), "sent nothing"),
        (html_page(), r"sent a web page \(text/html\), not an archive"),
        (status(200, b"\n<!doctype HTML><p>Sign in"), "sent a web page that is no zip or tar"),
        (status(200, b'{"error": "later"}' * 99), "sent something that is no zip or tar"),
    ],
)
def test_what_is_not_the_file_is_refused_and_not_kept(
    hosts: FakeHosts, tmp_path: Path, fault: Fault, told: str
) -> None:
    serve_file(hosts, always=fault)
    with pytest.raises(SourceError, match=told):
        download(make_remote(), tmp_path, limits=LIMITS)
    assert len(hosts.requests) == 1
    assert list_names(tmp_path) == set()


@pytest.mark.parametrize(
    ("known", "headers", "told"),
    [
        ({"sha256": "0" * 64}, {}, "SHA-256 is not the expected"),
        ({"md5": "0" * 32}, {}, "MD5 is not the expected"),
        ({}, {"x-goog-hash": "crc32c=n03x6A==,md5=AAAAAAAAAAAAAAAAAAAAAA=="}, "MD5 is not"),
        ({"size": 5}, {}, "offers another file: of 307204 bytes, where 5"),
    ],
    ids=["sha256", "md5", "x-goog-hash", "size"],
)
def test_bytes_that_fail_their_check_are_not_kept(
    hosts: FakeHosts, tmp_path: Path, known: dict[str, Any], headers: dict[str, str], told: str
) -> None:
    serve_file(hosts, headers=headers)
    with pytest.raises((SourceError, IntegrityError), match=told):
        download(make_remote(**known), tmp_path, limits=LIMITS)
    assert len(hosts.requests) == 1
    assert list_names(tmp_path) == set()


@pytest.mark.parametrize("size", [5, len(CONTENT) + 1])
def test_a_file_of_untold_size_has_to_have_the_known_one(
    hosts: FakeHosts, tmp_path: Path, size: int
) -> None:
    serve_file(hosts, faulty(framing="chunked"))
    assert f"another size than {size} bytes" in fetch_error(tmp_path, make_remote(size=size))
    assert list_names(tmp_path) == set()


after = st.integers(0, 3000)
faults = st.one_of(
    st.builds(lambda n: faulty(cut=n), after),
    st.builds(lambda n: faulty(cut=n, reset=True), after),
    st.builds(lambda n: faulty(cut=n, framing="chunked"), after),
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
    hosts: FakeHosts, body: bytes, mishaps: list[Fault], etag: str | None
) -> None:
    content = b"PK\x03\x04" + body
    serve_file(hosts, *mishaps, content=content, etag=etag)
    with tempfile.TemporaryDirectory() as folder:
        path, receipt = download(
            make_remote(), Path(folder), limits=HttpLimits(read_timeout=2, max_attempts=9, backoff=1e-4)
        )
        assert path.read_bytes() == content
        assert receipt.sha256 == hashlib.sha256(content).hexdigest()
