import json
from collections.abc import Callable
from pathlib import Path

import pytest

from config.dataset import FigshareSource, HttpSource, KaggleSource, LocalSource
from sources import DatasetConfig, acquire, check_for_update
from storage import LocalStore, keys
from storage.json_objects import write_json
from storage.raw_sets import Origin
from tests.conftest import draw_scene, encode
from tests.hosts import FakeHosts, Reply, Request, Resource
from tests.sources.hosts_data import pack_zip, serve_kaggle


def named(source: object) -> DatasetConfig:
    return DatasetConfig.model_validate({"name": "some", "title": "", "source": source})


def note(store: LocalStore, dataset: DatasetConfig, **facts: object) -> None:
    known = {"source": dataset.origin, "identity": "", "read_from": "", "acquired": "2026-01-01"}
    write_json(store, keys.latest_origin("some"), Origin.model_validate(known | facts))


def state(store: LocalStore, dataset: DatasetConfig) -> str | None:
    found = check_for_update(dataset, store)
    return None if found is None else found.state


def test_a_folder_is_new_when_its_files_are(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    dataset = named(LocalSource(kind="local", path=str(make_folder(2))))
    assert state(store, dataset) is None, "nothing was acquired"
    first = acquire(dataset, store)
    # A folder's origin stands for it as an archive's does.
    assert state(store, dataset) == "same"
    make_folder(3)
    assert state(store, dataset) == "new"
    assert acquire(dataset, store).fingerprint != first.fingerprint
    assert state(store, dataset) == "same"


def test_an_archive_on_the_web_is_compared_by_what_its_host_says(
    hosts: FakeHosts, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = pack_zip({"a.png": encode(draw_scene(1))})
    hosts.add("a.example", "/all.zip", Resource(content, etag='"1"'))
    dataset = named(HttpSource(kind="http", urls=("https://a.example/all.zip",)))
    first = acquire(dataset, store)
    assert state(store, dataset) == "same"
    changed = pack_zip({"a.png": encode(draw_scene(2))})
    hosts.add("a.example", "/all.zip", Resource(changed, etag='"2"'))
    found = check_for_update(dataset, store)
    assert found is not None and found.state == "new"
    assert '"2"' in found.message and '"1"' in found.message
    # Without being asked to, what is known is kept; then the new one comes.
    assert acquire(dataset, store) == first
    assert acquire(dataset, store, refetch=True).fingerprint != first.fingerprint
    assert state(store, dataset) == "same"
    # The same bytes, put there again.
    hosts.add("a.example", "/all.zip", Resource(changed, etag='"3"'))
    assert state(store, dataset) == "new"
    acquire(dataset, store, refetch=True)
    assert state(store, dataset) == "same"


def test_kaggle_is_asked_for_its_version(hosts: FakeHosts, store: LocalStore) -> None:
    dataset = named(KaggleSource(kind="kaggle", handle="a/b"))
    serve_kaggle(hosts, "a/b", Resource(b""), version=4)
    note(store, dataset, stated={"version": 4})
    assert state(store, dataset) == "same"
    note(store, dataset, stated={"version": 3})
    assert state(store, dataset) == "new"
    note(store, dataset)
    assert state(store, dataset) == "unknown"


def test_a_newer_article_is_for_a_person(hosts: FakeHosts, store: LocalStore) -> None:
    source = FigshareSource(kind="figshare", article=7, version=2, file=1)
    dataset = named(source)
    note(store, dataset)

    def article(version: int) -> Callable[[Request], Reply]:
        body = json.dumps({"version": version}).encode()
        return lambda _: Reply(200, {"Content-Type": "application/json"}, body)

    hosts.add("api.figshare.com", "/v2/articles/7", article(2))
    assert state(store, dataset) == "same"
    hosts.add("api.figshare.com", "/v2/articles/7", article(3))
    assert state(store, dataset) == "ask"


def test_what_cannot_change_or_be_asked(hosts: FakeHosts, store: LocalStore) -> None:
    pinned = named(HttpSource(kind="http", urls=("https://a.example/x.zip",), sha256="0" * 64))
    note(store, pinned)
    assert state(store, pinned) == "same"
    assert not hosts.requests, "its hash is known"
    other = named(HttpSource(kind="http", urls=("https://a.example/other.zip",), sha256="0" * 64))
    assert state(store, other) == "new", "the catalogue names another"
    gone = named(HttpSource(kind="http", urls=("https://a.example/x.zip",)))
    note(store, gone)
    assert state(store, gone) == "unknown"
