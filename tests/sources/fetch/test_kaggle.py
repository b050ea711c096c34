"""Kaggle: two API calls, a signed URL, and several kinds of credentials."""

import hashlib
from pathlib import Path

import pytest

from config.errors import InputError, SourceError
from sources import PrepareOptions, acquire, check_local_inputs, find_dataset
from storage import LocalStore, keys
from storage.raw_sets import read_origin
from tests.hosts import FakeHosts, Reply, Resource, faulty, status
from tests.sources.hosts_data import (
    PANDA,
    TOKEN,
    list_source_paths,
    make_panda_files,
    pack_zip,
    serve_kaggle,
)


def test_kaggle_data_set_is_acquired_without_a_login(hosts: FakeHosts, store: LocalStore) -> None:
    archive = Resource(pack_zip(make_panda_files()), faults=[faulty(cut=2000)])
    serve_kaggle(hosts, PANDA, archive)
    raw = acquire(find_dataset("panda"), store)
    assert raw.num_files == 300
    assert not any("Bears/b" in path for path in list_source_paths(store, raw))
    origin = read_origin(store, keys.raw_origin("panda", raw.fingerprint))
    assert origin is not None
    assert origin.host_metadata == {
        "title": "panda or bear image classification",
        "licence": "CC0: Public Domain",
        "version": 3,
        "size": len(archive.content),
    }
    assert (origin.size, origin.identity) == (
        len(archive.content),
        hashlib.sha256(archive.content).hexdigest(),
    )
    # The interrupted transfer was resumed.
    signed = [r for r in hosts.requests if r.host == "storage.googleapis.com"]
    assert [r.headers.get("range") for r in signed] == [None, "bytes=2000-"]


def test_token_is_sent_to_kaggle_only(
    hosts: FakeHosts, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    serve_kaggle(hosts, PANDA, Resource(pack_zip(make_panda_files())), token=TOKEN)
    acquire(find_dataset("panda"), store)
    for request in hosts.requests:
        authorization = request.headers.get("authorization")
        assert authorization == (f"Bearer {TOKEN}" if request.host == "api.kaggle.com" else None)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "without a login.*settings/api.*KAGGLE_API_TOKEN.*--archive"),
        ("expired", "credentials in KAGGLE_API_TOKEN .401.*mistyped or expired"),
    ],
)
def test_refusal_of_kaggle_says_what_to_do(
    hosts: FakeHosts,
    store: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    message: str,
) -> None:
    if token:
        monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    serve_kaggle(hosts, PANDA, Resource(b""), token=TOKEN)
    with pytest.raises(SourceError, match=message) as caught:
        acquire(find_dataset("panda"), store)
    assert "expired" not in str(caught.value).replace("mistyped or expired", "")
    assert not list(store.list_keys("datasets"))


def test_expired_token_file_is_named(
    hosts: FakeHosts, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kaggle's library prefers the file to the variables."""
    (tmp_path / "home" / ".kaggle").mkdir(parents=True)
    (tmp_path / "home" / ".kaggle" / "access_token").write_text("stale\n")
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "key")
    serve_kaggle(hosts, PANDA, Resource(b""), token=TOKEN)
    with pytest.raises(SourceError, match=r"~/\.kaggle/access_token"):
        acquire(find_dataset("panda"), store)


@pytest.mark.parametrize("token", ["tökén", "two\nlines"])
def test_malformed_token_is_rejected(
    hosts: FakeHosts, store: LocalStore, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    with pytest.raises(SourceError, match="mistyped"):
        acquire(find_dataset("panda"), store)
    assert hosts.requests == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{not json", r"credentials cannot be read.*kaggle\.json"),
        ('{"username": 7, "key": "x"}', "mistyped"),
    ],
)
def test_malformed_credentials_file_is_rejected(
    hosts: FakeHosts,
    store: LocalStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    message: str,
) -> None:
    (tmp_path / "kaggle.json").write_text(content)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    with pytest.raises(SourceError, match=message):
        acquire(find_dataset("panda"), store)
    assert hosts.requests == []


def test_credentials_are_checked_before_any_request(
    hosts: FakeHosts, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.zip").write_bytes(pack_zip(make_panda_files()))
    mine = find_dataset("panda", PrepareOptions(archive=str(tmp_path / "mine.zip")))
    monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
    with pytest.raises(SourceError, match="KAGGLE_KEY is not"):
        check_local_inputs(find_dataset("panda"), store)
    # Invalid credentials do not matter where none are needed.
    check_local_inputs(mine, store)
    acquire(mine, store)
    check_local_inputs(find_dataset("panda"), store)
    assert hosts.requests == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"code": "bad"}', "names no version"),
        (b'{"currentVersionNumber": "many"}', "unexpected format"),
        (b"<html>", "not with JSON"),
    ],
)
def test_malformed_response_of_kaggle_is_reported(
    hosts: FakeHosts, store: LocalStore, body: bytes, message: str
) -> None:
    path = "/v1/datasets.DatasetApiService/GetDataset"
    reply = Reply(200, {"Content-Type": "application/json"}, body)
    hosts.add("api.kaggle.com", path, lambda _: reply, "POST")
    with pytest.raises(SourceError, match=message):
        acquire(find_dataset("panda"), store)


def test_unknown_kaggle_environment_is_reported(
    hosts: FakeHosts, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "MOON")
    with pytest.raises(InputError, match="KAGGLE_API_ENVIRONMENT"):
        acquire(find_dataset("panda"), store)


def test_missing_data_set_on_kaggle_is_reported(hosts: FakeHosts, store: LocalStore) -> None:
    serve_kaggle(hosts, "someone/else", Resource(b""))
    with pytest.raises(SourceError, match="Kaggle has no mattop/panda"):
        acquire(find_dataset("panda"), store)


def test_busy_kaggle_is_retried(hosts: FakeHosts, store: LocalStore) -> None:
    serve_kaggle(hosts, PANDA, Resource(pack_zip(make_panda_files())))
    path = "/v1/datasets.DatasetApiService/GetDataset"
    handler = hosts._routes["api.kaggle.com", "POST", path]
    faults = [status(429, Retry_After="1"), status(503)]
    resource = Resource(b"")
    hosts.add(
        "api.kaggle.com",
        path,
        lambda request: (faults.pop()(resource, request) if faults else None) or handler(request),
        "POST",
    )
    assert acquire(find_dataset("panda"), store).num_files == 300


def test_secrets_are_not_stored_or_printed(
    hosts: FakeHosts,
    store: LocalStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    archive = Resource(pack_zip(make_panda_files()), faults=[faulty(cut=3000), status(403)])
    serve_kaggle(hosts, PANDA, archive, token=TOKEN)
    caplog.set_level("DEBUG")
    acquire(find_dataset("panda"), store)
    output = caplog.text + "".join(capfd.readouterr())
    stored = b"".join(
        file.read_bytes()
        for folder in (tmp_path / "cache", tmp_path / "own-store")
        for file in folder.rglob("*")
        if file.is_file()
    )
    for secret in (TOKEN, "secret-signature"):
        assert secret not in output
        assert secret.encode() not in stored
