"""Interrupted transfers: retries, and resumption where the bytes are certain to match."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sources.fetch.download import download
from tests.hosts import (
    FakeHosts,
    Fault,
    Reply,
    Request,
    Resource,
    faulty,
    on_range,
    range_ignored,
    replaced_by,
    status,
    with_headers,
)
from tests.sources.fetch import transfers
from tests.sources.fetch.transfers import (
    CONTENT,
    HOST,
    LIMITS,
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

hosts = transfers.hosts


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faulty(cut=70_000), id="cut"),
        pytest.param(faulty(cut=70_000, reset=True), id="reset"),
        pytest.param(faulty(cut=3), id="cut in the magic number"),
        pytest.param(faulty(cut=0), id="cut at the start"),
        pytest.param(faulty(cut=70_000, framing="chunked"), id="cut chunked"),
        *(pytest.param(status(code), id=str(code)) for code in (408, 425, 429, 500, 502, 503)),
    ],
)
def test_transient_fault_is_retried(hosts: FakeHosts, tmp_path: Path, fault: Fault) -> None:
    serve_file(hosts, fault)
    fetch(tmp_path)
    assert len(hosts.requests) == 2


def test_silent_host_is_retried_after_the_timeout(hosts: FakeHosts, tmp_path: Path) -> None:
    silence = 20
    serve_file(hosts, faulty(cut=70_000, stall=silence))
    start = time.monotonic()
    fetch(tmp_path, limits=replace(LIMITS, read_timeout=0.5))
    assert list_ranges(hosts)[:2] == [None, "bytes=70000-"]
    assert time.monotonic() - start < silence, "the host ended the response itself"


def test_host_may_send_smaller_ranges(hosts: FakeHosts, tmp_path: Path) -> None:
    def serve_smaller_range(resource: Resource, request: Request) -> Reply:
        start = int(request.headers["range"][len("bytes=") : -1])
        end = min(start + 100_000, len(CONTENT))
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(CONTENT)}", "ETag": '"1"'}
        return Reply(206, headers, CONTENT[start:end])

    interrupt(hosts, tmp_path).default_fault = on_range(serve_smaller_range)
    fetch(tmp_path)
    assert list_ranges(hosts) == ["bytes=1000-", "bytes=101000-", "bytes=201000-", "bytes=301000-"]


def test_slow_body_is_a_stall(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, default_fault=faulty(drip=0.01))
    message = fetch_error(tmp_path, limits=replace(LIMITS, max_attempts=2, stall_seconds=0.3))
    assert message.startswith("IntegrityError") and "(stalled)" in message
    # The few bytes are kept, but do not reset the number of attempts.
    assert len(hosts.requests) == 2 and list_ranges(hosts)[1] is not None


def test_interrupted_transfer_is_resumed(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, faulty(cut=1000), faulty(cut=500))
    fetch(tmp_path)
    assert list_ranges(hosts) == [None, "bytes=1000-", "bytes=1500-"]
    assert hosts.requests[1].headers["if-range"] == '"1"'


def test_next_call_resumes_the_download(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, faulty(cut=123_000))
    assert fetch_error(tmp_path, limits=SINGLE_ATTEMPT) == (
        "IntegrityError: set.zip was not downloaded: storage.example/set.zip stopped at 123.0 of "
        "307.2 kB (connection closed early). The downloaded part is kept: run again to resume."
    )
    assert list_names(tmp_path) == {"set.zip.part", "set.zip.part.json"}
    fetch(tmp_path)
    assert list_ranges(hosts) == [None, "bytes=123000-"]


def test_second_mirror_may_make_slow_progress(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, faulty(cut=200_000), default_fault=status(404))
    serve_file(hosts, *[faulty(cut=10_000)] * 9, host="other.example")
    fetch(tmp_path, make_remote(URL, "https://other.example/set.zip"))


def test_ctrl_c_keeps_the_partial_download(hosts: FakeHosts, tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    serve_file(hosts)
    with pytest.raises(KeyboardInterrupt):
        download(make_remote(), tmp_path, on_bytes=stop, limits=LIMITS)
    size = (tmp_path / "set.zip.part").stat().st_size
    fetch(tmp_path)
    assert size > 100_000 and list_ranges(hosts) == [None, f"bytes={size}-"]


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
def test_download_is_resumed_only_with_a_strong_validator(
    hosts: FakeHosts, tmp_path: Path, fields: dict[str, Any], validator: str | None
) -> None:
    interrupt(hosts, tmp_path, **fields)
    fetch(tmp_path)
    assert hosts.requests[0].headers.get("if-range") == validator
    assert list_ranges(hosts) == ["bytes=1000-" if validator else None]


def test_download_with_date_but_without_size_is_not_resumed(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    serve_file(hosts, faulty(cut=1000, framing="chunked"), etag=None)
    fetch(tmp_path)
    assert list_ranges(hosts) == [None, None]


def test_download_from_another_host_is_not_resumed(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    serve_file(hosts, host="other.example")
    fetch(tmp_path, make_remote("https://other.example/set.zip?signed"))
    assert list_ranges(hosts) == [None]


def test_download_is_resumed_with_a_new_signature(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    fetch(tmp_path, make_remote(f"{URL}?Signature=new"))
    assert list_ranges(hosts) == ["bytes=1000-"]


@pytest.mark.parametrize("etag", ['"2"', None])
def test_changed_file_is_downloaded_from_the_start(
    hosts: FakeHosts, tmp_path: Path, etag: str | None
) -> None:
    interrupt(hosts, tmp_path, content=CONTENT[:4] + CONTENT[:3:-1])
    serve_file(hosts, replaced_by(CONTENT, etag), last_modified="Tue, 03 Nov 2026 08:00:00 GMT")
    fetch(tmp_path)


@pytest.mark.parametrize(
    "content_range", ["bytes 999-307203/307204", "bytes 1000-1999/2000", "bytes */*", ""]
)
def test_range_that_does_not_fit_is_not_appended(
    hosts: FakeHosts, tmp_path: Path, content_range: str
) -> None:
    interrupt(hosts, tmp_path).faults = [on_range(with_headers(Content_Range=content_range))]
    fetch(tmp_path)
    assert list_ranges(hosts) == ["bytes=1000-", None]


def test_range_of_a_changed_file_is_not_appended(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path).faults = [on_range(with_headers(ETag='"2"'))]
    fetch(tmp_path)
    assert list_ranges(hosts) == ["bytes=1000-", None]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 412, 416, 501])
def test_refused_range_is_followed_by_a_full_request(
    hosts: FakeHosts, tmp_path: Path, code: int
) -> None:
    interrupt(hosts, tmp_path).default_fault = on_range(status(code, b"<Error>expired</Error>"))
    fetch(tmp_path)
    assert list_ranges(hosts) == ["bytes=1000-", None]


def test_ignored_range_restarts_the_transfer(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path).faults = [range_ignored()]
    fetch(tmp_path)
    assert list_ranges(hosts) == ["bytes=1000-"]


def test_temporary_refusal_keeps_the_partial_download(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path).faults = [status(403), status(403)]
    assert "The downloaded part is kept" in fetch_error(tmp_path)
    fetch(tmp_path)
    assert list_ranges(hosts)[2:] == ["bytes=1000-"]


@pytest.mark.parametrize("sidecar", [None, b"", b"{}", b'{"asked":5}', b"\xff"])
def test_partial_download_without_valid_metadata_is_not_used(
    hosts: FakeHosts, tmp_path: Path, sidecar: bytes | None
) -> None:
    interrupt(hosts, tmp_path)
    path = tmp_path / "set.zip.part.json"
    path.unlink() if sidecar is None else path.write_bytes(sidecar)
    fetch(tmp_path)
    assert list_ranges(hosts) == [None]


def test_partial_download_longer_than_the_file_is_not_used(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    interrupt(hosts, tmp_path)
    (tmp_path / "set.zip.part").write_bytes(CONTENT + b"more")
    fetch(tmp_path)
    assert list_ranges(hosts) == [None]


def test_complete_partial_download_requests_its_last_byte(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    (tmp_path / "set.zip.part").write_bytes(CONTENT)
    fetch(tmp_path)
    assert list_ranges(hosts) == [f"bytes={len(CONTENT) - 1}-"]


def test_modified_partial_download_fails_its_hash_and_is_deleted(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    interrupt(hosts, tmp_path)
    (tmp_path / "set.zip.part").write_bytes(b"PK\x03\x04" + bytes(996))
    message = fetch_error(tmp_path, make_remote(sha256=SHA256))
    assert message.startswith("IntegrityError") and "SHA-256 is not the expected one" in message
    assert list_names(tmp_path) == set()
    fetch(tmp_path, make_remote(sha256=SHA256))


# ---- Downloads from two hosts

OTHER = "other.example"
URLS = (URL, f"https://{OTHER}/set.zip")


def test_second_host_resumes_the_download_of_the_first(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, faulty(cut=200_000), default_fault=status(404))
    serve_file(hosts, faulty(cut=50_000), host=OTHER, etag='"2"', last_modified=None)
    record = fetch(tmp_path, make_remote(*URLS, sha256=SHA256))
    requests = [request for request in hosts.requests if request.host == OTHER]
    assert [request.headers.get("range") for request in requests] == [
        "bytes=200000-",
        "bytes=250000-",
    ]
    assert not any("if-range" in request.headers for request in requests)
    # No ETag applies to bytes of two hosts.
    assert (record.url, record.etag, record.last_modified) == (URLS[1], None, None)


def test_next_call_resumes_from_another_host(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    serve_file(hosts, host=OTHER, etag=None, last_modified=None)
    fetch(tmp_path, make_remote(URLS[1], sha256=SHA256))
    assert list_ranges(hosts) == ["bytes=1000-"]


def test_known_hash_allows_resumption_without_validator(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, faulty(cut=1000), etag=None, last_modified=None)
    fetch(tmp_path, make_remote(sha256=SHA256))
    assert list_ranges(hosts) == [None, "bytes=1000-"]


def test_bytes_of_two_hosts_are_not_resumed_without_a_hash(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    interrupt(hosts, tmp_path)
    serve_file(hosts, faulty(cut=1000), host=OTHER)
    fetch_error(tmp_path, make_remote(URLS[1], sha256=SHA256), limits=SINGLE_ATTEMPT)
    assert (tmp_path / "set.zip.part").stat().st_size == 2000
    fetch(tmp_path, make_remote(URLS[1]))
    assert list_ranges(hosts) == ["bytes=1000-", None]


@pytest.mark.parametrize(
    "content_range",
    ["bytes 1000-307203/307205", "bytes 999-307203/307204", "bytes 1000-307203/*", ""],
)
def test_range_of_another_host_that_does_not_fit_is_not_appended(
    hosts: FakeHosts, tmp_path: Path, content_range: str
) -> None:
    interrupt(hosts, tmp_path)
    serve_file(hosts, on_range(with_headers(Content_Range=content_range)), host=OTHER)
    fetch(tmp_path, make_remote(URLS[1], sha256=SHA256))
    assert list_ranges(hosts) == ["bytes=1000-", None]


def test_mixture_of_different_files_fails_the_hash(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path, content=CONTENT[:500] + CONTENT[:499:-1])
    hosts.add(HOST, "/set.zip", Resource(b"", default_fault=status(404)))
    serve_file(hosts, host=OTHER)
    message = fetch_error(tmp_path, make_remote(*URLS, sha256=SHA256))
    assert message.startswith("IntegrityError") and " Run again." in message
    assert "other.example/set.zip completed a file whose SHA-256 is not the expected one" in message
    assert list_names(tmp_path) == set()
    fetch(tmp_path, make_remote(*URLS, sha256=SHA256))
    assert list_ranges(hosts)[-1] is None
