"""Pauses and numbers of attempts of downloads and API calls."""

import time
from email.utils import formatdate
from pathlib import Path

import pytest

from config.errors import SourceError
from sources.fetch import host_api
from sources.fetch.download import HttpLimits, RemoteFile, RequestTarget
from sources.fetch.host_api import HostUnavailable
from tests.hosts import (
    FakeHosts,
    Fault,
    Resource,
    faulty,
    status,
)
from tests.sources.fetch import transfers
from tests.sources.fetch.transfers import (
    ADVICE,
    CONTENT,
    HOST,
    LIMITS,
    URL,
    fetch,
    fetch_error,
    interrupt,
    list_ranges,
    serve_file,
)

hosts, pauses = transfers.hosts, transfers.pauses


def test_progress_resets_the_number_of_attempts(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, *[faulty(cut=2000)] * 9)
    fetch(tmp_path)
    assert len(hosts.requests) == 10


def test_attempts_without_progress_are_limited(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    serve_file(hosts, default_fault=faulty(cut=100_000), etag=None, last_modified=None)
    message = fetch_error(tmp_path, limits=HttpLimits())
    assert "stopped at 100.0 of 307.2 kB" in message and message.endswith(f" Run again. {ADVICE}")
    # The first request made progress; nine more sent the same bytes.
    assert len(hosts.requests) == 10
    for pause, max_pause in zip(pauses, (1, 1, 2, 4, 8, 16, 32, 60, 60), strict=True):
        assert max_pause / 2 <= pause <= max_pause


def test_attempts_with_changing_urls_are_limited(hosts: FakeHosts, tmp_path: Path) -> None:
    paths = (f"/{number}/set.zip" for number in range(99))
    for number in range(99):
        hosts.add(HOST, f"/{number}/set.zip", Resource(CONTENT, default_fault=faulty(cut=100_000)))
    mirror = lambda: RequestTarget(f"https://{HOST}{next(paths)}")  # noqa: E731
    assert "stopped at" in fetch_error(tmp_path, RemoteFile("set.zip", (mirror,)))
    assert len(hosts.requests) == 1 + LIMITS.max_resume_attempts


def test_outage_of_two_minutes_does_not_end_a_started_transfer(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    resource = serve_file(hosts, faulty(cut=100_000), default_fault=status(503))
    message = fetch_error(tmp_path, limits=HttpLimits())
    assert message.startswith("IntegrityError") and "stopped at 100.0 of 307.2 kB" in message
    assert 120 < sum(pauses) < 200
    pauses.clear()
    # A run without received bytes gives up earlier.
    message = fetch_error(tmp_path, limits=HttpLimits())
    assert message.startswith(
        "IntegrityError: set.zip was not downloaded: storage.example/set.zip "
    )
    assert message.endswith(
        "answered 503; try again later. The downloaded part is kept: run again to resume."
    )
    assert sum(pauses) < 20
    resource.default_fault = None
    fetch(tmp_path)


def test_retry_after_is_respected(hosts: FakeHosts, tmp_path: Path, pauses: list[float]) -> None:
    soon = formatdate(time.time() + 40, usegmt=True)
    serve_file(hosts, status(429, Retry_After="3"), status(503, Retry_After=soon))
    fetch(tmp_path, limits=HttpLimits(backoff=0.001))
    assert pauses[0] == 3
    assert 35 < pauses[1] <= 40


def test_too_long_retry_after_is_reported(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    serve_file(hosts, status(429, Retry_After="7200"))
    message = fetch_error(tmp_path)
    assert (
        message.startswith("SourceError")
        and "(429) and asks to wait 2 h: run again after" in message
    )
    assert len(hosts.requests) == 1


def test_repeated_retry_after_is_limited(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    serve_file(hosts, faulty(cut=100_000), default_fault=status(429, Retry_After="200"))
    assert fetch_error(tmp_path, limits=HttpLimits()) == (
        "IntegrityError: set.zip was not downloaded: storage.example/set.zip stopped at 100.0 of "
        "307.2 kB (limits requests (429) and asks to wait 4 min: run again after that). "
        "The downloaded part is kept: run again to resume."
    )
    assert pauses[1:] == [200]


# ---- APIs that return the URL of a file


def serve_api(*faults: Fault, hosts: FakeHosts) -> None:
    hosts.add("api.example", "/", Resource(b"{}", faults=list(faults)))


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504, 520])
def test_busy_api_is_retried(hosts: FakeHosts, pauses: list[float], code: int) -> None:
    serve_api(status(code), status(code), status(code), hosts=hosts)
    assert host_api.call_api("GET", "https://api.example/", ADVICE).status_code == 200
    assert len(pauses) == 3 and sum(pauses) < 10


@pytest.mark.parametrize("code", [400, 401, 404, 501])
def test_final_status_of_an_api_is_returned(hosts: FakeHosts, code: int) -> None:
    serve_api(status(code), hosts=hosts)
    assert host_api.call_api("GET", "https://api.example/", ADVICE).status_code == code


def test_retry_after_of_an_api_is_respected(hosts: FakeHosts, pauses: list[float]) -> None:
    soon = formatdate(time.time() + 90, usegmt=True)
    serve_api(status(429, Retry_After="200"), status(503, Retry_After=soon), hosts=hosts)
    assert host_api.call_api("GET", "https://api.example/", ADVICE).status_code == 200
    assert pauses[0] == 200 and 85 < pauses[1] <= 90


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_too_long_retry_after_of_an_api_is_reported(
    hosts: FakeHosts, pauses: list[float], form: str
) -> None:
    # Computed here: a time in the parameter would differ between pytest-xdist workers.
    wait = "301" if form == "seconds" else formatdate(time.time() + 400, usegmt=True)
    serve_api(status(429, Retry_After=wait), hosts=hosts)
    with pytest.raises(HostUnavailable) as caught:
        host_api.call_api("GET", "https://api.example/", ADVICE)
    assert str(caught.value).startswith("api.example limits requests (429) and asks to wait ")
    assert str(caught.value).endswith(" min: run again after that. Get it another way.")
    assert pauses == []


def test_unreachable_api_is_reported(hosts: FakeHosts, pauses: list[float]) -> None:
    with pytest.raises(HostUnavailable) as caught:
        host_api.call_api("GET", "https://api.example/", ADVICE)
    assert str(caught.value) == (
        f"api.example cannot be reached (refused by the proxy; check the network). {ADVICE}"
    )
    assert sum(pauses) < 10


def test_untrusted_certificate_of_an_api_is_not_retried(
    hosts: FakeHosts, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_api(hosts=hosts)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(SourceError, match="not trusted; SSL_CERT_FILE"):
        host_api.call_api("GET", "https://api.example/", ADVICE)
    assert pauses == []


def make_api_remote() -> RemoteFile:
    """Return a file whose URL an API returns, as for Kaggle."""

    def request_url() -> RequestTarget:
        response = host_api.call_api("GET", "https://api.example/", ADVICE)
        if response.status_code != 200:
            raise SourceError(f"The API refuses. {ADVICE}")
        return RequestTarget(URL)

    return RemoteFile("set.zip", (request_url,), advice=ADVICE)


def test_api_outage_does_not_end_a_transfer(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    serve_api(status(200), *[status(503)] * 30, hosts=hosts)
    serve_file(hosts, faulty(cut=100_000))
    fetch(tmp_path, make_api_remote(), limits=HttpLimits())
    assert [value for value in list_ranges(hosts) if value] == ["bytes=100000-"]


def test_long_api_outage_keeps_the_partial_download(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    serve_api(status(200), *[status(503)] * 99, hosts=hosts)
    serve_file(hosts, faulty(cut=100_000))
    assert fetch_error(tmp_path, make_api_remote(), limits=HttpLimits()) == (
        "IntegrityError: set.zip was not downloaded: stopped at 100.0 of 307.2 kB "
        "(api.example answered 503; try again later). The downloaded part is kept: run again to "
        "resume."
    )
    assert sum(pauses) < 300
    pauses.clear()
    # The next run fails quickly, and reports the partial download.
    assert fetch_error(tmp_path, make_api_remote(), limits=HttpLimits()) == (
        "IntegrityError: set.zip was not downloaded: api.example answered 503; try again later. "
        "The downloaded part is kept: run again to resume."
    )
    assert len(pauses) == 3


def test_repeated_retry_after_of_an_api_is_limited(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    serve_api(status(200), *[status(429, Retry_After="200")] * 99, hosts=hosts)
    serve_file(hosts, faulty(cut=100_000))
    assert fetch_error(tmp_path, make_api_remote(), limits=HttpLimits()).startswith(
        "IntegrityError"
    )
    assert sum(pauses) < 700


@pytest.mark.parametrize("code", [404, 503])
def test_advice_is_given_once(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float], code: int
) -> None:
    serve_api(*[status(code)] * 4, hosts=hosts)
    message = fetch_error(tmp_path, make_api_remote(), limits=HttpLimits())
    assert message.startswith("SourceError: set.zip was not downloaded: ")
    assert message.count(ADVICE) == 1 and message.endswith(f". {ADVICE}")


def test_advice_is_given_if_resumption_may_not_help(hosts: FakeHosts, tmp_path: Path) -> None:
    interrupt(hosts, tmp_path)
    serve_api(status(404), hosts=hosts)
    assert fetch_error(tmp_path, make_api_remote()) == (
        "SourceError: set.zip was not downloaded: The API refuses. The downloaded part is kept. "
        "Get it another way."
    )
