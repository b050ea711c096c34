"""Redirects, secrets, mirrors, APIs and missing networks in downloads."""

import logging
import traceback
from pathlib import Path

import httpx
import pytest

from config.errors import IcanvasError, InputError, SourceError
from sources.fetch.download import HttpLimits, RemoteFile, RequestTarget, download
from tests.hosts import (
    FakeHosts,
    Resource,
    faulty,
    html_page,
    on_range,
    redirect,
    status,
    with_headers,
)
from tests.sources.fetch import transfers
from tests.sources.fetch.transfers import (
    HOST,
    SHA256,
    SINGLE_ATTEMPT,
    URL,
    fetch,
    fetch_error,
    list_ranges,
    make_remote,
    serve_file,
)

hosts, pauses = transfers.hosts, transfers.pauses


@pytest.mark.parametrize(
    ("location", "same_origin"),
    [
        (f"https://{HOST}/set.zip", True),
        ("https://other.example/set.zip", False),
        (f"https://{HOST}:8443/set.zip", False),
    ],
    ids=["same", "host", "port"],
)
def test_token_is_sent_to_its_own_origin_only(
    hosts: FakeHosts, tmp_path: Path, location: str, same_origin: bool
) -> None:
    serve_file(hosts)
    serve_file(hosts, host="other.example")
    hosts.add(HOST, "/api", Resource(b"", default_fault=redirect(location)))
    secret = {"authorization": "Bearer secret-token", "X-Key": "secret", "Accept": "a/b"}
    fetch(tmp_path, make_remote(f"https://{HOST}/api", headers=secret))
    first, second = hosts.requests
    assert first.headers["authorization"] == "Bearer secret-token"
    assert ("authorization" in second.headers, "x-key" in second.headers) == (
        same_origin,
        same_origin,
    )
    assert second.headers["accept"] == "a/b"


def test_redirects_are_limited(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, default_fault=redirect(URL))
    assert "redirected more than 10 times" in fetch_error(tmp_path)
    assert len(hosts.requests) == 11


@pytest.mark.parametrize(
    "location", ["ftp://other.example/set.zip", "file:///etc/passwd", "https://"]
)
def test_only_http_and_https_urls_are_followed(
    hosts: FakeHosts, tmp_path: Path, location: str
) -> None:
    assert "redirects to" in fetch_error(tmp_path, make_remote(location))
    serve_file(hosts, default_fault=redirect(location))
    assert "SourceError" in fetch_error(tmp_path)


@pytest.mark.parametrize("location", ["mailto:x", "https://xn--/", "https://xn--a/"])
def test_redirect_to_an_invalid_url_falls_back_to_other_mirrors(
    hosts: FakeHosts, tmp_path: Path, location: str
) -> None:
    serve_file(hosts, default_fault=redirect(location))
    message = fetch_error(tmp_path)
    assert message.startswith("SourceError: set.zip was not downloaded: storage.example/set.zip ")
    assert message.count("valid URL") == 1
    serve_file(hosts, host="other.example")
    fetch(tmp_path, make_remote(URL, location, "https://other.example/set.zip"))


@pytest.mark.parametrize("location", ["https://a..b/set.zip", f"https://{'a' * 70}.example/"])
def test_unresolvable_host_name_falls_back_to_other_mirrors(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    serve_file(hosts)
    monkeypatch.setenv("no_proxy", f"a..b,{'a' * 70}.example")
    assert "is invalid, or redirects to an invalid URL" in fetch_error(
        tmp_path, make_remote(location)
    )
    fetch(tmp_path, make_remote(location, URL))


def test_invalid_url_of_an_api_falls_back_to_other_mirrors(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    serve_file(hosts)

    def invalid_url() -> RequestTarget:
        return RequestTarget(str(httpx.URL("https://api.example").join("https://x:port/")))

    fetch(tmp_path, RemoteFile("set.zip", (invalid_url, *make_remote().mirrors)))


@pytest.mark.parametrize("redirected", [False, True])
def test_plain_http_must_be_allowed(hosts: FakeHosts, tmp_path: Path, redirected: bool) -> None:
    http_url = f"http://{HOST}/set.zip"
    serve_file(hosts)
    hosts.add(HOST, "/api", Resource(b"", default_fault=redirect(http_url)))
    url = f"https://{HOST}/api" if redirected else http_url
    message = fetch_error(tmp_path, make_remote(url))
    assert message.startswith("SourceError") and "--allow-http (or ICANVAS_ALLOW_HTTP=1)" in message
    fetch(tmp_path / "allowed", make_remote(url), allow_http=True)
    elsewhere = make_remote(url, sha256=SHA256, http_allowed_hosts=frozenset({"other.example"}))
    assert "--allow-http" in fetch_error(tmp_path / "elsewhere", elsewhere)
    fetch(
        tmp_path / "listed", make_remote(url, sha256=SHA256, http_allowed_hosts=frozenset({HOST}))
    )
    schemes = [request.scheme for request in hosts.requests if request.path == "/set.zip"]
    assert schemes == ["http", "http"]


def test_token_is_not_sent_over_plain_http(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts)
    allowed = frozenset({HOST})
    remote = make_remote(
        f"http://{HOST}/set.zip", headers={"Authorization": "x"}, http_allowed_hosts=allowed
    )
    assert "--allow-http" in fetch_error(tmp_path, remote)
    assert not hosts.requests


def test_secrets_are_not_printed_logged_or_stored(
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
    remote = make_remote(
        "https://api.example/api?key=xyzzy", headers={"Authorization": "Bearer xyzzy"}
    )
    output = repr(remote.mirrors[0]())
    for fault in faults:
        resource.faults = [on_range(status(403)), fault]
        with pytest.raises(IcanvasError) as caught:
            download(remote, tmp_path, limits=SINGLE_ATTEMPT)
        output += "".join(traceback.format_exception(caught.value))
        output += b"".join(path.read_bytes()[:9999] for path in tmp_path.iterdir()).decode(
            "latin-1"
        )
    resource.faults = []
    output += fetch(tmp_path, remote).model_dump_json()
    output += (tmp_path / "set.zip.json").read_text() + caplog.text + "".join(capfd.readouterr())
    assert "api.example" in output
    assert "xyzzy" not in output
    assert any("xyzzy" in request.query for request in hosts.requests)


def test_next_mirror_is_tried(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, default_fault=html_page())
    serve_file(hosts, host="other.example")
    record = fetch(tmp_path, make_remote(URL, "https://other.example/set.zip"))
    assert record.url == "https://other.example/set.zip"


def test_error_names_every_mirror_and_has_the_last_type(hosts: FakeHosts, tmp_path: Path) -> None:
    serve_file(hosts, default_fault=html_page())
    serve_file(hosts, host="other.example", default_fault=with_headers(ETag='"3"'))
    message = fetch_error(
        tmp_path, make_remote(URL, "https://other.example/set.zip", sha256="0" * 64)
    )
    assert message.startswith(
        "IntegrityError: set.zip was not downloaded: storage.example/set.zip "
    )
    assert "web page" in message and "; other.example/set.zip sent a file whose SHA-256" in message


def test_interrupted_mirror_takes_precedence_over_a_refusal(
    hosts: FakeHosts, tmp_path: Path
) -> None:
    serve_file(hosts, faulty(cut=1000))
    serve_file(hosts, host="other.example", default_fault=status(404))
    message = fetch_error(
        tmp_path, make_remote(URL, "https://other.example/set.zip"), limits=SINGLE_ATTEMPT
    )
    assert (
        message.startswith("IntegrityError")
        and "The downloaded part is kept: run again to resume." in message
    )
    fetch(tmp_path)
    assert list_ranges(hosts)[-1] == "bytes=1000-"


def test_signed_url_is_requested_for_every_request(hosts: FakeHosts, tmp_path: Path) -> None:
    calls: list[None] = []

    def sign() -> RequestTarget:
        calls.append(None)
        return RequestTarget(f"{URL}?Signature={len(calls)}")

    serve_file(hosts, faulty(cut=1000), on_range(status(403)))
    fetch(tmp_path, RemoteFile("set.zip", (sign,)))
    assert [request.query for request in hosts.requests] == [f"Signature={i}" for i in (1, 2, 3)]


def test_failing_mirror_function_counts_as_a_refusal(hosts: FakeHosts, tmp_path: Path) -> None:
    def refuse() -> RequestTarget:
        raise SourceError("Kaggle wants a login.")

    serve_file(hosts)
    fetch(tmp_path, RemoteFile("set.zip", (refuse, *make_remote().mirrors)))
    message = fetch_error(tmp_path / "other", RemoteFile("set.zip", (refuse,)))
    assert message == "SourceError: set.zip was not downloaded: Kaggle wants a login."


def test_missing_network_is_reported_quickly(
    hosts: FakeHosts, tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = fetch_error(tmp_path, limits=HttpLimits())
    assert (
        message.startswith("SourceError") and "cannot be reached (refused by the proxy" in message
    )
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


def test_untrusted_certificate_is_refused(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_file(hosts)
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "certificate that is not trusted; SSL_CERT_FILE" in fetch_error(tmp_path)
    assert not hosts.requests


def test_invalid_network_setting_is_named(
    hosts: FakeHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/none/such.pem")
    with pytest.raises(InputError, match="SSL_CERT_FILE"):
        download(make_remote(), tmp_path)


@pytest.mark.parametrize("name", ["../set.zip", "", "a/b", "/etc/x", ".."])
def test_file_name_with_a_folder_is_rejected(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        download(RemoteFile(name, ()), tmp_path)
