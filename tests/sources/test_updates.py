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


def dataset_of(source: object) -> DatasetConfig:
    return DatasetConfig.model_validate({"name": "some", "title": "", "source": source})


def save_origin(store: LocalStore, dataset: DatasetConfig, **facts: object) -> None:
    defaults = {"source": dataset.origin, "identity": "", "read_from": "", "acquired": "2026-01-01"}
    write_json(store, keys.latest_origin("some"), Origin.model_validate(defaults | facts))


def check_state(store: LocalStore, dataset: DatasetConfig) -> str | None:
    status = check_for_update(dataset, store)
    return None if status is None else status.state


def test_folder_is_new_if_its_files_changed(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    dataset = dataset_of(LocalSource(kind="local", path=str(make_folder(2))))
    assert check_state(store, dataset) is None, "nothing was acquired"
    first = acquire(dataset, store)
    assert check_state(store, dataset) == "same"
    make_folder(3)
    assert check_state(store, dataset) == "new"
    assert acquire(dataset, store).fingerprint != first.fingerprint
    assert check_state(store, dataset) == "same"


def test_archive_on_the_web_is_compared_by_its_headers(
    hosts: FakeHosts, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = pack_zip({"a.png": encode(draw_scene(1))})
    hosts.add("a.example", "/all.zip", Resource(content, etag='"1"'))
    dataset = dataset_of(HttpSource(kind="http", urls=("https://a.example/all.zip",)))
    first = acquire(dataset, store)
    assert check_state(store, dataset) == "same"
    changed = pack_zip({"a.png": encode(draw_scene(2))})
    hosts.add("a.example", "/all.zip", Resource(changed, etag='"2"'))
    status = check_for_update(dataset, store)
    assert status is not None and status.state == "new"
    assert '"2"' in status.message and '"1"' in status.message
    # Only refetch acquires the new archive.
    assert acquire(dataset, store) == first
    assert acquire(dataset, store, refetch=True).fingerprint != first.fingerprint
    assert check_state(store, dataset) == "same"
    # The same bytes with another ETag.
    hosts.add("a.example", "/all.zip", Resource(changed, etag='"3"'))
    assert check_state(store, dataset) == "new"
    acquire(dataset, store, refetch=True)
    assert check_state(store, dataset) == "same"


def test_version_on_kaggle_is_compared(hosts: FakeHosts, store: LocalStore) -> None:
    dataset = dataset_of(KaggleSource(kind="kaggle", handle="a/b"))
    serve_kaggle(hosts, "a/b", Resource(b""), version=4)
    save_origin(store, dataset, host_metadata={"version": 4})
    assert check_state(store, dataset) == "same"
    save_origin(store, dataset, host_metadata={"version": 3})
    assert check_state(store, dataset) == "new"
    save_origin(store, dataset)
    assert check_state(store, dataset) == "unknown"


def test_newer_version_on_figshare_needs_a_decision(hosts: FakeHosts, store: LocalStore) -> None:
    source = FigshareSource(kind="figshare", article=7, version=2, file=1)
    dataset = dataset_of(source)
    save_origin(store, dataset)

    def article(version: int) -> Callable[[Request], Reply]:
        body = json.dumps({"version": version}).encode()
        return lambda _: Reply(200, {"Content-Type": "application/json"}, body)

    hosts.add("api.figshare.com", "/v2/articles/7", article(2))
    assert check_state(store, dataset) == "same"
    hosts.add("api.figshare.com", "/v2/articles/7", article(3))
    assert check_state(store, dataset) == "ask"


def test_pinned_or_unreachable_source(hosts: FakeHosts, store: LocalStore) -> None:
    pinned = dataset_of(HttpSource(kind="http", urls=("https://a.example/x.zip",), sha256="0" * 64))
    save_origin(store, pinned)
    assert check_state(store, pinned) == "same"
    assert not hosts.requests, "its hash is known"
    other = dataset_of(
        HttpSource(kind="http", urls=("https://a.example/other.zip",), sha256="0" * 64)
    )
    assert check_state(store, other) == "new", "the catalogue names another URL"
    gone = dataset_of(HttpSource(kind="http", urls=("https://a.example/x.zip",)))
    save_origin(store, gone)
    assert check_state(store, gone) == "unknown"
