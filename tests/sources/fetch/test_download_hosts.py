"""Where the downloader goes: redirects, secrets, mirrors, APIs and no network at all."""

import logging
import traceback
from pathlib import Path

import httpx
import pytest

from config.errors import IcanvasError, InputError, SourceError
from sources.fetch.download import RequestTarget, HttpLimits, RemoteFile, download
from tests.hosts import (
    FakeHosts,
    Resource,
    faulty,
    on_range,
    html_page,
    redirect,
    status,
    with_headers,
)
from tests.sources.fetch import transfers
from tests.sources.fetch.transfers import (
    HOST,
    SINGLE_ATTEMPT,
    SHA256,
    URL,
    fetch_error,
    fetch,
    serve_file,
    list_ranges,
    make_remote,
)

hosts, pauses = transfers.hosts, transfers.pauses


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
    hosts: FakeHosts, tmp_path: Path, there: str, kept: bool
) -> None:
    serve_file(hosts)
    serve_file(hosts, host="other.example")
    hosts.add(HOST, "/api", Resource(b"", default_fault=redirect(there)))
    secret = {"authorization": "Bearer secret-token", "X-Key": "secret", "Accept": "a/b"}
    fetch(tmp_path, make_remote(f"https://{HOST}/api", headers=secret))
    first, second = hosts.requests
    assert first.headers["authorization"] == "Bearer secret-token"
    assert ("authorization" in second.headers, "x-key" in second.headers) == (kept, kept)
    assert second.headers["accept"] == "a/b"


def test_redirects_come_to_an_end(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, always=redirect(URL))
    assert "redirected more than 10 times" in fetch_error(tmp_path)
    assert len(hosts.requests) == 11


@pytest.mark.parametrize("there", ["ftp://other.example/set.zip", "file:///etc/passwd", "https://"])
def test_only_web_addresses_are_followed(hosts: FakeHosts, tmp_path: Path, there: str) -> None:
    assert "leads to" in fetch_error(tmp_path, make_remote(there))
    serve_file(hosts, always=redirect(there))
    assert "SourceError" in fetch_error(tmp_path)


@pytest.mark.parametrize("there", ["mailto:x", "https://xn--/", "https://xn--a/"])
def test_a_redirect_to_no_address_leaves_the_other_mirrors(
    hosts: FakeHosts, tmp_path: Path, there: str
) -> None:
    serve_file(hosts, always=redirect(there))
    told = fetch_error(tmp_path)
    assert told.startswith("SourceError: set.zip was not downloaded: storage.example/set.zip ")
    assert "leads to" in told and told.count("address") == 1
    serve_file(hosts, host="other.example")
    fetch(tmp_path, make_remote(URL, there, "https://other.example/set.zip"))


@pytest.mark.parametrize("there", ["https://a..b/set.zip", f"https://{'a' * 70}.example/"])
def test_a_name_that_cannot_be_looked_up_leaves_the_other_mirrors(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    serve_file(hosts)
    monkeypatch.setenv("no_proxy", f"a..b,{'a' * 70}.example")
    assert "is or leads to something that is no address" in fetch_error(tmp_path, make_remote(there))
    fetch(tmp_path, make_remote(there, URL))


def test_an_address_that_an_api_garbles_leaves_the_other_mirrors(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    serve_file(hosts)
    garbled = lambda: RequestTarget(str(httpx.URL("https://api.example").join("https://x:port/")))  # noqa: E731
    fetch(tmp_path, RemoteFile("set.zip", (garbled, *make_remote().mirrors)))


@pytest.mark.parametrize("redirected", [False, True])
def test_plain_http_needs_leave_or_to_be_listed(
    hosts: FakeHosts, tmp_path: Path, redirected: bool
) -> None:
    plain = f"http://{HOST}/set.zip"
    serve_file(hosts)
    hosts.add(HOST, "/api", Resource(b"", default_fault=redirect(plain)))
    url = f"https://{HOST}/api" if redirected else plain
    told = fetch_error(tmp_path, make_remote(url))
    assert told.startswith("SourceError") and "--allow-http (or ICANVAS_ALLOW_HTTP=1)" in told
    fetch(tmp_path / "allowed", make_remote(url), allow_http=True)
    elsewhere = make_remote(url, sha256=SHA256, plain=frozenset({"other.example"}))
    assert "--allow-http" in fetch_error(tmp_path / "elsewhere", elsewhere)
    fetch(tmp_path / "listed", make_remote(url, sha256=SHA256, plain=frozenset({HOST})))
    schemes = [request.scheme for request in hosts.requests if request.path == "/set.zip"]
    assert schemes == ["http", "http"]


def test_a_token_never_goes_over_plain_http_unasked(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts)
    plain = frozenset({HOST})
    wanted = make_remote(f"http://{HOST}/set.zip", headers={"Authorization": "x"}, plain=plain)
    assert "--allow-http" in fetch_error(tmp_path, wanted)
    assert not hosts.requests


def test_no_secret_is_shown_logged_or_stored(
    hosts: FakeHosts,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    signed = f"https://user:xyzzy@{HOST}/set.zip?X-Goog-Signature=xyzzy"
    api = Resource(b"", default_fault=redirect(signed))
    hosts.add("api.example", "/api", api)
    faults = [faulty(cut=1000), html_page(), status(404), status(429, Retry_After="9999"),
              redirect(f"http://{HOST}/?xyzzy"), redirect("https://gone.example/?xyzzy"),
              redirect("https://x:port/?xyzzy"), faulty(cut=1, reset=True)]  # fmt: skip
    resource = serve_file(hosts)
    wanted = make_remote("https://api.example/api?key=xyzzy", headers={"Authorization": "Bearer xyzzy"})
    shown = repr(wanted.mirrors[0]())
    for fault in faults:
        resource.faults = [on_range(status(403)), fault]
        with pytest.raises(IcanvasError) as caught:
            download(wanted, tmp_path, limits=SINGLE_ATTEMPT)
        shown += "".join(traceback.format_exception(caught.value))
        shown += b"".join(path.read_bytes()[:9999] for path in tmp_path.iterdir()).decode("latin-1")
    resource.faults = []
    shown += fetch(tmp_path, wanted).model_dump_json()
    shown += (tmp_path / "set.zip.json").read_text() + caplog.text + "".join(capfd.readouterr())
    assert "api.example" in shown
    assert "xyzzy" not in shown
    assert any("xyzzy" in request.query for request in hosts.requests)


def test_the_next_mirror_is_tried(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, always=html_page())
    serve_file(hosts, host="other.example")
    receipt = fetch(tmp_path, make_remote(URL, "https://other.example/set.zip"))
    assert receipt.url == "https://other.example/set.zip"


def test_an_error_names_every_mirror_and_is_the_last_ones(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, always=html_page())
    serve_file(hosts, host="other.example", always=with_headers(ETag='"3"'))
    told = fetch_error(tmp_path, make_remote(URL, "https://other.example/set.zip", sha256="0" * 64))
    assert told.startswith("IntegrityError: set.zip was not downloaded: storage.example/set.zip ")
    assert "web page" in told and "; other.example/set.zip sent a file whose SHA-256" in told


def test_an_interrupted_mirror_counts_for_more_than_one_that_refuses(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    serve_file(hosts, faulty(cut=1000))
    serve_file(hosts, host="other.example", always=status(404))
    told = fetch_error(tmp_path, make_remote(URL, "https://other.example/set.zip"), limits=SINGLE_ATTEMPT)
    assert told.startswith("IntegrityError") and "The part is kept: run again to resume." in told
    fetch(tmp_path)
    assert list_ranges(hosts)[-1] == "bytes=1000-"


def test_an_address_is_made_anew_for_every_request(hosts: FakeHosts, tmp_path: Path) -> None:
    made: list[None] = []

    def sign() -> RequestTarget:
        made.append(None)
        return RequestTarget(f"{URL}?Signature={len(made)}")

    serve_file(hosts, faulty(cut=1000), on_range(status(403)))
    fetch(tmp_path, RemoteFile("set.zip", (sign,)))
    assert [request.query for request in hosts.requests] == [f"Signature={i}" for i in (1, 2, 3)]


def test_an_address_that_cannot_be_made_counts_as_a_refusal(hosts: FakeHosts, tmp_path: Path) -> None:
    def refuse() -> RequestTarget:
        raise SourceError("Kaggle wants a login.")

    serve_file(hosts)
    fetch(tmp_path, RemoteFile("set.zip", (refuse, *make_remote().mirrors)))
    told = fetch_error(tmp_path / "other", RemoteFile("set.zip", (refuse,)))
    assert told == "SourceError: set.zip was not downloaded: Kaggle wants a login."


def test_without_a_network_the_error_comes_soon_and_says_so(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = fetch_error(tmp_path, limits=HttpLimits())
    assert told.startswith("SourceError") and "cannot be reached (refused by the proxy" in told
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "")
    for url, reason in (
        ("https://127.0.0.1:1/set.zip", "connection refused"),
        ("https://name.invalid/set.zip", "unknown host name"),
    ):
        assert f"cannot be reached ({reason}; check the network)" in fetch_error(
            tmp_path, make_remote(url), limits=HttpLimits()
        )
    assert len(pauses) == 6 and sum(pauses[:2]) < 10


def test_a_certificate_that_is_not_trusted_is_refused(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_file(hosts)
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "certificate that is not trusted; SSL_CERT_FILE" in fetch_error(tmp_path)
    assert not hosts.requests


def test_network_settings_that_make_no_sense_are_named(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/none/such.pem")
    with pytest.raises(InputError, match="SSL_CERT_FILE"):
        download(make_remote(), tmp_path)


@pytest.mark.parametrize("name", ["../set.zip", "", "a/b", "/etc/x", ".."])
def test_a_file_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        download(RemoteFile(name, ()), tmp_path)
