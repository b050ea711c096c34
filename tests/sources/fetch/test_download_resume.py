"""Transfers that break: asked for again, and gone on with where that is sure to be right."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sources.fetch.download import download
from tests.hosts import (
    Fault,
    FakeHosts,
    Reply,
    Request,
    Resource,
    replaced_by,
    faulty,
    on_range,
    range_ignored,
    status,
    with_headers,
)
from tests.sources.fetch import transfers
from tests.sources.fetch.transfers import (
    CONTENT,
    HOST,
    LIMITS,
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

hosts = transfers.hosts


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faulty(cut=70_000), id="cut"),
        pytest.param(faulty(cut=70_000, reset=True), id="reset"),
        pytest.param(faulty(cut=3), id="cut in the mark"),
        pytest.param(faulty(cut=0), id="cut at once"),
        pytest.param(faulty(cut=70_000, framing="chunked"), id="cut chunked"),
        *(pytest.param(status(code), id=str(code)) for code in (408, 425, 429, 500, 502, 503)),
    ],
)
def test_what_may_pass_is_asked_again(hosts: FakeHosts, tmp_path: Path, fault: Fault) -> None:
    serve_file(hosts, fault)
    fetch(tmp_path)
    assert len(hosts.requests) == 2


def test_silence_is_broken_off_and_asked_again(hosts: FakeHosts, tmp_path: Path) -> None:
    silence = 20
    serve_file(hosts, faulty(cut=70_000, stall=silence))
    began = time.monotonic()
    fetch(tmp_path, limits=replace(LIMITS, read_timeout=0.5))
    assert list_ranges(hosts)[:2] == [None, "bytes=70000-"]
    assert time.monotonic() - began < silence, "the host broke it off itself"


def test_a_host_may_send_ranges_in_smaller_ones(hosts: FakeHosts, tmp_path: Path) -> None:
    def shortly(resource: Resource, request: Request) -> Reply:
        start = int(request.headers["range"][len("bytes=") : -1])
        end = min(start + 100_000, len(CONTENT))
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(CONTENT)}", "ETag": '"1"'}
        return Reply(206, headers, CONTENT[start:end])

    interrupt(hosts, tmp_path).default_fault = on_range(shortly)
    fetch(tmp_path)
    assert list_ranges(hosts) == ["bytes=1000-", "bytes=101000-", "bytes=201000-", "bytes=301000-"]


def test_a_dripping_body_is_a_stall(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, always=faulty(drip=0.01))
    told = fetch_error(tmp_path, limits=replace(LIMITS, max_attempts=2, stall_seconds=0.3))
    assert told.startswith("IntegrityError") and "(stalled)" in told
    # The few bytes are kept, but they are no reason to go on like that for ever.
    assert len(hosts.requests) == 2 and list_ranges(hosts)[1] is not None


def test_a_broken_transfer_goes_on_where_it_stopped(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, faulty(cut=1000), faulty(cut=500))
    fetch(tmp_path)
    assert list_ranges(hosts) == [None, "bytes=1000-", "bytes=1500-"]
    assert hosts.requests[1].headers["if-range"] == '"1"'


def test_the_next_call_goes_on_where_the_last_stopped(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, faulty(cut=123_000))
    assert fetch_error(tmp_path, limits=SINGLE_ATTEMPT) == (
        "IntegrityError: set.zip was not downloaded: storage.example/set.zip stopped at 123.0 of "
        "307.2 kB (connection closed early). The part is kept: run again to resume."
    )
    assert list_names(tmp_path) == {"set.zip.part", "set.zip.part.json"}
    fetch(tmp_path)
    assert list_ranges(hosts) == [None, "bytes=123000-"]


def test_a_second_mirror_may_make_slow_progress_too(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, faulty(cut=200_000), always=status(404))
    serve_file(hosts, *[faulty(cut=10_000)] * 9, host="other.example")
    fetch(tmp_path, make_remote(URL, "https://other.example/set.zip"))


def test_ctrl_c_passes_and_keeps_the_part(hosts: FakeHosts, tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    serve_file(hosts)
    with pytest.raises(KeyboardInterrupt):
        download(make_remote(), tmp_path, on_bytes=stop, limits=LIMITS)
    kept = (tmp_path / "set.zip.part").stat().st_size
    fetch(tmp_path)
    assert kept > 100_000 and list_ranges(hosts) == [None, f"bytes={kept}-"]


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
    hosts: FakeHosts, tmp_path: Path, fields: dict[str, Any], validator: str | None
) -> None:
    interrupt(hosts, tmp_path, **fields)
    fetch(tmp_path)
    assert hosts.requests[0].headers.get("if-range") == validator
    assert list_ranges(hosts) == ["bytes=1000-" if validator else None]


def test_a_date_without_a_size_does_not_let_a_part_be_resumed(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, faulty(cut=1000, framing="chunked"), etag=None)
    fetch(tmp_path)
    assert list_ranges(hosts) == [None, None]


def test_a_part_from_elsewhere_is_not_resumed(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    serve_file(hosts, host="other.example")
    fetch(tmp_path, make_remote("https://other.example/set.zip?signed"))
    assert list_ranges(hosts) == [None]


def test_a_new_signature_does_not_stop_a_part_from_being_resumed(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    interrupt(hosts, tmp_path)
    fetch(tmp_path, make_remote(f"{URL}?Signature=new"))
    assert list_ranges(hosts) == ["bytes=1000-"]


@pytest.mark.parametrize("etag", ['"2"', None])
def test_a_file_that_changed_is_fetched_from_its_start(
    hosts: FakeHosts, tmp_path: Path, etag: str | None
) -> None:
    interrupt(hosts, tmp_path, content=CONTENT[:4] + CONTENT[:3:-1])
    serve_file(hosts, replaced_by(CONTENT, etag), last_modified="Tue, 03 Nov 2026 08:00:00 GMT")
    fetch(tmp_path)


@pytest.mark.parametrize(
    "told", ["bytes 999-307203/307204", "bytes 1000-1999/2000", "bytes */*", ""]
)
def test_a_range_of_something_else_is_not_appended(hosts: FakeHosts, tmp_path: Path, told: str) -> None:
    interrupt(hosts, tmp_path).faults = [on_range(with_headers(Content_Range=told))]
    fetch(tmp_path)
    assert list_ranges(hosts) == ["bytes=1000-", None]


def test_a_range_of_a_changed_file_is_not_appended(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path).faults = [on_range(with_headers(ETag='"2"'))]
    fetch(tmp_path)
    assert list_ranges(hosts) == ["bytes=1000-", None]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 412, 416, 501])
def test_a_refused_range_is_followed_by_a_request_for_all(
    hosts: FakeHosts, tmp_path: Path, code: int
) -> None:
    interrupt(hosts, tmp_path).default_fault = on_range(status(code, b"<Error>expired</Error>"))
    fetch(tmp_path)
    assert list_ranges(hosts) == ["bytes=1000-", None]


def test_a_range_that_is_ignored_starts_again(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path).faults = [range_ignored()]
    fetch(tmp_path)
    assert list_ranges(hosts) == ["bytes=1000-"]


def test_a_part_outlives_a_host_that_refuses_for_now(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path).faults = [status(403), status(403)]
    assert "The part is kept" in fetch_error(tmp_path)
    fetch(tmp_path)
    assert list_ranges(hosts)[2:] == ["bytes=1000-"]


@pytest.mark.parametrize("sidecar", [None, b"", b"{}", b'{"asked":5}', b"\xff"])
def test_a_part_without_a_sound_trace_is_not_used(
    hosts: FakeHosts, tmp_path: Path, sidecar: bytes | None
) -> None:
    interrupt(hosts, tmp_path)
    trace = tmp_path / "set.zip.part.json"
    trace.unlink() if sidecar is None else trace.write_bytes(sidecar)
    fetch(tmp_path)
    assert list_ranges(hosts) == [None]


def test_a_part_longer_than_the_file_is_not_used(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    (tmp_path / "set.zip.part").write_bytes(CONTENT + b"more")
    fetch(tmp_path)
    assert list_ranges(hosts) == [None]


def test_a_whole_part_is_confirmed_by_its_last_byte(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    (tmp_path / "set.zip.part").write_bytes(CONTENT)
    fetch(tmp_path)
    assert list_ranges(hosts) == [f"bytes={len(CONTENT) - 1}-"]


def test_a_part_that_was_altered_fails_its_hash_and_goes(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    (tmp_path / "set.zip.part").write_bytes(b"PK\x03\x04" + bytes(996))
    told = fetch_error(tmp_path, make_remote(sha256=SHA256))
    assert told.startswith("IntegrityError") and "SHA-256 is not the expected one" in told
    assert list_names(tmp_path) == set()
    fetch(tmp_path, make_remote(sha256=SHA256))


# ---- What one host began and another ends

OTHER = "other.example"
BOTH = (URL, f"https://{OTHER}/set.zip")


def test_another_host_goes_on_where_one_stopped_for_good(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, faulty(cut=200_000), always=status(404))
    serve_file(hosts, faulty(cut=50_000), host=OTHER, etag='"2"', last_modified=None)
    receipt = fetch(tmp_path, make_remote(*BOTH, sha256=SHA256))
    there = [request for request in hosts.requests if request.host == OTHER]
    assert [request.headers.get("range") for request in there] == [
        "bytes=200000-",
        "bytes=250000-",
    ]
    assert not any("if-range" in request.headers for request in there)
    # Neither host's ETag is that of all the bytes.
    assert (receipt.url, receipt.etag, receipt.last_modified) == (BOTH[1], None, None)


def test_the_next_call_goes_on_at_another_host_too(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    serve_file(hosts, host=OTHER, etag=None, last_modified=None)
    fetch(tmp_path, make_remote(BOTH[1], sha256=SHA256))
    assert list_ranges(hosts) == ["bytes=1000-"]


def test_a_known_hash_makes_up_for_a_host_that_names_no_version(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    serve_file(hosts, faulty(cut=1000), etag=None, last_modified=None)
    fetch(tmp_path, make_remote(sha256=SHA256))
    assert list_ranges(hosts) == [None, "bytes=1000-"]


def test_bytes_of_two_hosts_are_not_gone_on_with_without_a_hash(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    interrupt(hosts, tmp_path)
    serve_file(hosts, faulty(cut=1000), host=OTHER)
    fetch_error(tmp_path, make_remote(BOTH[1], sha256=SHA256), limits=SINGLE_ATTEMPT)
    assert (tmp_path / "set.zip.part").stat().st_size == 2000
    fetch(tmp_path, make_remote(BOTH[1]))
    assert list_ranges(hosts) == ["bytes=1000-", None]


@pytest.mark.parametrize(
    "told", ["bytes 1000-307203/307205", "bytes 999-307203/307204", "bytes 1000-307203/*", ""]
)
def test_a_range_of_something_else_from_another_host_is_not_appended(
    hosts: FakeHosts, tmp_path: Path, told: str
) -> None:
    interrupt(hosts, tmp_path)
    serve_file(hosts, on_range(with_headers(Content_Range=told)), host=OTHER)
    fetch(tmp_path, make_remote(BOTH[1], sha256=SHA256))
    assert list_ranges(hosts) == ["bytes=1000-", None]


def test_hosts_that_have_different_files_are_told_by_the_hash(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path, content=CONTENT[:500] + CONTENT[:499:-1])
    hosts.add(HOST, "/set.zip", Resource(b"", default_fault=status(404)))
    serve_file(hosts, host=OTHER)
    told = fetch_error(tmp_path, make_remote(*BOTH, sha256=SHA256))
    assert told.startswith("IntegrityError") and " Run again." in told
    assert "other.example/set.zip completed a file whose SHA-256 is not the expected one" in told
    assert list_names(tmp_path) == set()
    fetch(tmp_path, make_remote(*BOTH, sha256=SHA256))
    assert list_ranges(hosts)[-1] is None
