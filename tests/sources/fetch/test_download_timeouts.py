"""How long the downloader waits, and how often it asks: files and APIs."""

import time
from email.utils import formatdate
from pathlib import Path

import pytest

from config.errors import SourceError
from sources.fetch import host_api
from sources.fetch.download import RequestTarget, HttpLimits, RemoteFile
from sources.fetch.host_api import HostUnavailable
from tests.hosts import (
    Fault,
    FakeHosts,
    Resource,
    faulty,
    status,
)
from tests.sources.fetch import transfers
from tests.sources.fetch.transfers import (
    CONTENT,
    HOST,
    LIMITS,
    URL,
    fetch_error,
    fetch,
    interrupt,
    serve_file,
    list_ranges,
)

hosts, pauses = transfers.hosts, transfers.pauses


def test_progress_starts_the_count_of_attempts_again(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, *[faulty(cut=2000)] * 9)
    fetch(tmp_path)
    assert len(hosts.requests) == 10


def test_attempts_that_bring_nothing_new_come_to_an_end(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    serve_file(hosts, always=faulty(cut=100_000), etag=None, last_modified=None)
    told = fetch_error(tmp_path, limits=HttpLimits())
    assert "stopped at 100.0 of 307.2 kB" in told and told.endswith(" Run again. Fetch it by hand.")
    # The first brought something; from then on the same bytes came nine times.
    assert len(hosts.requests) == 10
    for pause, most in zip(pauses, (1, 1, 2, 4, 8, 16, 32, 60, 60), strict=True):
        assert most / 2 <= pause <= most


def test_addresses_that_differ_every_time_come_to_an_end_too(hosts: FakeHosts, tmp_path: Path) -> None:
    paths = (f"/{number}/set.zip" for number in range(99))
    for number in range(99):
        hosts.add(HOST, f"/{number}/set.zip", Resource(CONTENT, default_fault=faulty(cut=100_000)))
    mirror = lambda: RequestTarget(f"https://{HOST}{next(paths)}")  # noqa: E731
    assert "stopped at" in fetch_error(tmp_path, RemoteFile("set.zip", (mirror,)))
    assert len(hosts.requests) == 1 + LIMITS.max_resume_attempts


def test_an_outage_of_two_minutes_is_survived_once_something_came(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    resource = serve_file(hosts, faulty(cut=100_000), always=status(503))
    told = fetch_error(tmp_path, limits=HttpLimits())
    assert told.startswith("IntegrityError") and "stopped at 100.0 of 307.2 kB" in told
    assert 120 < sum(pauses) < 200
    pauses.clear()
    # Where nothing came in this run, nobody is kept waiting that long.
    told = fetch_error(tmp_path, limits=HttpLimits())
    assert told.startswith("IntegrityError: set.zip was not downloaded: storage.example/set.zip ")
    assert told.endswith("answered 503; try again later. The part is kept: run again to resume.")
    assert sum(pauses) < 20
    resource.default_fault = None
    fetch(tmp_path)


def test_a_host_may_ask_for_a_pause(hosts: FakeHosts, tmp_path: Path, pauses: list[float]) -> None:
    soon = formatdate(time.time() + 40, usegmt=True)
    serve_file(hosts, status(429, Retry_After="3"), status(503, Retry_After=soon))
    fetch(tmp_path, limits=HttpLimits(backoff=0.001))
    assert pauses[0] == 3
    assert 35 < pauses[1] <= 40


def test_too_long_a_pause_is_an_error_that_tells_it(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    serve_file(hosts, status(429, Retry_After="7200"))
    told = fetch_error(tmp_path)
    assert told.startswith("SourceError") and "(429) and asks to wait 2 h: run again after" in told
    assert len(hosts.requests) == 1


def test_pauses_in_a_row_come_to_an_end(hosts: FakeHosts, tmp_path: Path, pauses: list[float]) -> None:
    serve_file(hosts, faulty(cut=100_000), always=status(429, Retry_After="200"))
    assert fetch_error(tmp_path, limits=HttpLimits()) == (
        "IntegrityError: set.zip was not downloaded: storage.example/set.zip stopped at 100.0 of "
        "307.2 kB (limits its requests (429) and asks to wait 4 min: run again after that). "
        "The part is kept: run again to resume."
    )
    assert pauses[1:] == [200]


# ---- An API that is asked for an address

ADVICE = "Fetch it by hand."


def question(*faults: Fault, hosts: FakeHosts) -> None:
    hosts.add("api.example", "/", Resource(b"{}", faults=list(faults)))


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504, 520])
def test_a_busy_api_is_asked_again(hosts: FakeHosts, pauses: list[float], code: int) -> None:
    question(status(code), status(code), status(code), hosts=hosts)
    assert host_api.call_api("GET", "https://api.example/", ADVICE).status_code == 200
    assert len(pauses) == 3 and sum(pauses) < 10


@pytest.mark.parametrize("code", [400, 401, 404, 501])
def test_what_an_api_says_for_good_is_its_answer(hosts: FakeHosts, code: int) -> None:
    question(status(code), hosts=hosts)
    assert host_api.call_api("GET", "https://api.example/", ADVICE).status_code == code


def test_an_api_may_ask_for_a_pause(hosts: FakeHosts, pauses: list[float]) -> None:
    soon = formatdate(time.time() + 90, usegmt=True)
    question(status(429, Retry_After="200"), status(503, Retry_After=soon), hosts=hosts)
    assert host_api.call_api("GET", "https://api.example/", ADVICE).status_code == 200
    assert pauses[0] == 200 and 85 < pauses[1] <= 90


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_an_api_that_asks_for_too_long_a_pause_is_told(
    hosts: FakeHosts, pauses: list[float], form: str
) -> None:
    # Reckoned here: as a parameter the time would give each test process a test of its own.
    wait = "301" if form == "seconds" else formatdate(time.time() + 400, usegmt=True)
    question(status(429, Retry_After=wait), hosts=hosts)
    with pytest.raises(HostUnavailable) as caught:
        host_api.call_api("GET", "https://api.example/", ADVICE)
    assert str(caught.value).startswith("api.example limits its requests (429) and asks to wait ")
    assert str(caught.value).endswith(" min: run again after that. Fetch it by hand.")
    assert pauses == []


def test_an_api_without_a_network(hosts: FakeHosts, pauses: list[float]) -> None:
    with pytest.raises(HostUnavailable) as caught:
        host_api.call_api("GET", "https://api.example/", ADVICE)
    assert str(caught.value) == (
        "api.example cannot be reached (refused by the proxy; check the network). Fetch it by hand."
    )
    assert sum(pauses) < 10


def test_an_api_whose_certificate_is_not_trusted_is_not_asked_again(
    hosts: FakeHosts, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    question(hosts=hosts)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(SourceError, match="not trusted; SSL_CERT_FILE"):
        host_api.call_api("GET", "https://api.example/", ADVICE)
    assert pauses == []


def found_by_api() -> RemoteFile:
    """Return a file whose address is asked for as Kaggle's and figshare's are."""

    def locate() -> RequestTarget:
        answer = host_api.call_api("GET", "https://api.example/", ADVICE)
        if answer.status_code != 200:
            raise SourceError(f"The API refuses. {ADVICE}")
        return RequestTarget(URL)

    return RemoteFile("set.zip", (locate,), advice=ADVICE)


def test_an_outage_of_the_api_does_not_end_a_transfer(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    question(status(200), *[status(503)] * 30, hosts=hosts)
    serve_file(hosts, faulty(cut=100_000))
    fetch(tmp_path, found_by_api(), limits=HttpLimits())
    assert [held for held in list_ranges(hosts) if held] == ["bytes=100000-"]


def test_an_api_that_stays_away_leaves_a_part_to_resume(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    question(status(200), *[status(503)] * 99, hosts=hosts)
    serve_file(hosts, faulty(cut=100_000))
    assert fetch_error(tmp_path, found_by_api(), limits=HttpLimits()) == (
        "IntegrityError: set.zip was not downloaded: stopped at 100.0 of 307.2 kB "
        "(api.example answered 503; try again later). The part is kept: run again to resume."
    )
    assert sum(pauses) < 300
    pauses.clear()
    # The next run is told soon, and that the part is still there.
    assert fetch_error(tmp_path, found_by_api(), limits=HttpLimits()) == (
        "IntegrityError: set.zip was not downloaded: api.example answered 503; try again later. "
        "The part is kept: run again to resume."
    )
    assert len(pauses) == 3


def test_an_api_that_keeps_asking_for_pauses_is_given_up(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float]
) -> None:
    question(status(200), *[status(429, Retry_After="200")] * 99, hosts=hosts)
    serve_file(hosts, faulty(cut=100_000))
    assert fetch_error(tmp_path, found_by_api(), limits=HttpLimits()).startswith("IntegrityError")
    assert sum(pauses) < 700


@pytest.mark.parametrize("code", [404, 503])
def test_advice_comes_once(hosts: FakeHosts, tmp_path: Path, pauses: list[float], code: int) -> None:
    question(*[status(code)] * 4, hosts=hosts)
    told = fetch_error(tmp_path, found_by_api(), limits=HttpLimits())
    assert told.startswith("SourceError: set.zip was not downloaded: ")
    assert told.count(ADVICE) == 1 and told.endswith(f". {ADVICE}")


def test_advice_comes_beside_a_part_only_where_running_again_is_no_use(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    interrupt(hosts, tmp_path)
    question(status(404), hosts=hosts)
    assert fetch_error(tmp_path, found_by_api()) == (
        "SourceError: set.zip was not downloaded: The API refuses. The part is kept. "
        "Fetch it by hand."
    )
