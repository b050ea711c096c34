"""Kaggle's own ways: two calls, a signed address, and many kinds of credentials."""

import hashlib
from pathlib import Path

import pytest

from config.errors import InputError, SourceError
from sources import PrepareOptions, acquire, check_local_inputs, find_dataset
from storage import LocalStore, keys
from storage.raw_sets import read_origin
from tests.hosts import FakeHosts, Reply, Resource, faulty, status
from tests.sources.hosts_data import PANDA, TOKEN, serve_kaggle, pack_zip, make_panda_files, list_source_paths


def test_pandas_come_from_kaggle_without_a_login(hosts: FakeHosts, store: LocalStore) -> None:
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
    # The transfer that broke went on where it stopped.
    signed = [r for r in hosts.requests if r.host == "storage.googleapis.com"]
    assert [r.headers.get("range") for r in signed] == [None, "bytes=2000-"]


def test_a_token_is_given_to_kaggle_and_to_nobody_else(
    hosts: FakeHosts, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    serve_kaggle(hosts, PANDA, Resource(pack_zip(make_panda_files())), token=TOKEN)
    acquire(find_dataset("panda"), store)
    for request in hosts.requests:
        given = request.headers.get("authorization")
        assert given == (f"Bearer {TOKEN}" if request.host == "api.kaggle.com" else None)


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (None, "without a login.*settings/api.*KAGGLE_API_TOKEN.*--archive"),
        ("expired", "credentials in KAGGLE_API_TOKEN .401.*mistyped or expired"),
    ],
)
def test_kaggle_refuses_with_a_way_out(
    hosts: FakeHosts,
    store: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    says: str,
) -> None:
    if token:
        monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    serve_kaggle(hosts, PANDA, Resource(b""), token=TOKEN)
    with pytest.raises(SourceError, match=says) as caught:
        acquire(find_dataset("panda"), store)
    assert "expired" not in str(caught.value).replace("mistyped or expired", "")
    assert not list(store.list_keys("datasets"))


def test_a_stale_token_file_is_named(
    hosts: FakeHosts, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It beats good credentials of the older kind, which nobody would guess."""
    (tmp_path / "home" / ".kaggle").mkdir(parents=True)
    (tmp_path / "home" / ".kaggle" / "access_token").write_text("stale\n")
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "key")
    serve_kaggle(hosts, PANDA, Resource(b""), token=TOKEN)
    with pytest.raises(SourceError, match=r"~/\.kaggle/access_token"):
        acquire(find_dataset("panda"), store)


@pytest.mark.parametrize("token", ["tökén", "two\nlines"])
def test_a_token_that_cannot_be(
    hosts: FakeHosts, store: LocalStore, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)
    with pytest.raises(SourceError, match="mistyped"):
        acquire(find_dataset("panda"), store)
    assert hosts.requests == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{not json", r"credentials cannot be read.*kaggle\.json"),
        ('{"username": 7, "key": "x"}', "mistyped"),
    ],
)
def test_a_file_of_credentials_that_cannot_be(
    hosts: FakeHosts,
    store: LocalStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    says: str,
) -> None:
    (tmp_path / "kaggle.json").write_text(content)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    with pytest.raises(SourceError, match=says):
        acquire(find_dataset("panda"), store)
    assert hosts.requests == []


def test_credentials_are_looked_at_before_anything_is_asked(
    hosts: FakeHosts, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.zip").write_bytes(pack_zip(make_panda_files()))
    mine = find_dataset("panda", PrepareOptions(archive=str(tmp_path / "mine.zip")))
    monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
    with pytest.raises(SourceError, match="KAGGLE_KEY is not"):
        check_local_inputs(find_dataset("panda"), store)
    # Where none are needed, they may be as they are.
    check_local_inputs(mine, store)
    acquire(mine, store)
    check_local_inputs(find_dataset("panda"), store)
    assert hosts.requests == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b'{"code": "bad"}', "names no version"),
        (b'{"currentVersionNumber": "many"}', "not understood"),
        (b"<html>", "not with JSON"),
    ],
)
def test_an_answer_of_kaggle_that_makes_no_sense(
    hosts: FakeHosts, store: LocalStore, answer: bytes, says: str
) -> None:
    path = "/v1/datasets.DatasetApiService/GetDataset"
    reply = Reply(200, {"Content-Type": "application/json"}, answer)
    hosts.add("api.kaggle.com", path, lambda _: reply, "POST")
    with pytest.raises(SourceError, match=says):
        acquire(find_dataset("panda"), store)


def test_an_unknown_kaggle_environment(
    hosts: FakeHosts, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "MOON")
    with pytest.raises(InputError, match="KAGGLE_API_ENVIRONMENT"):
        acquire(find_dataset("panda"), store)


def test_kaggle_has_moved_it(hosts: FakeHosts, store: LocalStore) -> None:
    serve_kaggle(hosts, "someone/else", Resource(b""))
    with pytest.raises(SourceError, match="Kaggle has no mattop/panda"):
        acquire(find_dataset("panda"), store)


def test_kaggle_is_busy_for_a_moment(hosts: FakeHosts, store: LocalStore) -> None:
    serve_kaggle(hosts, PANDA, Resource(pack_zip(make_panda_files())))
    path = "/v1/datasets.DatasetApiService/GetDataset"
    sound = hosts._routes["api.kaggle.com", "POST", path]
    busy = [status(429, Retry_After="1"), status(503)]
    resource = Resource(b"")
    hosts.add(
        "api.kaggle.com",
        path,
        lambda request: (busy.pop()(resource, request) if busy else None) or sound(request),
        "POST",
    )
    assert acquire(find_dataset("panda"), store).num_files == 300


def test_no_secret_is_kept_or_shown(
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
    said = caplog.text + "".join(capfd.readouterr())
    kept = b"".join(
        file.read_bytes()
        for folder in (tmp_path / "cache", tmp_path / "own-store")
        for file in folder.rglob("*")
        if file.is_file()
    )
    for secret in (TOKEN, "secret-signature"):
        assert secret not in said
        assert secret.encode() not in kept
