"""Workers that share only the store, of which one is killed during an upload."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from prefect import flow

from config.settings import get_settings
from flows.prepare import extract_shards, plan_pair_set, prepare
from hed import fetch_default_weights
from sources import acquire, find_dataset
from storage import LocalStore
from storage.pins import pin
from storage.s3 import S3Store
from tasks.publish import publish_pairs
from tests.faults.environment import fault_at_request
from tests.faults.faulty_proxy import Fault, run_faulty_proxy
from tests.flows.clusters import Cluster, dask_cluster, ray_cluster
from tests.flows.test_prepare import ENTRY
from tests.s3 import SeaweedFS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]

StartCluster = Callable[..., AbstractContextManager[Cluster]]


@pytest.mark.parametrize(("name", "start"), [("dask", dask_cluster), ("ray", ray_cluster)])
def test_killed_worker_is_replaced_with_equal_results(
    name: str,
    start: StartCluster,
    tmp_path: Path,
    make_folder: Callable[[int], Path],
    store: LocalStore,
    s3_store: S3Store,
    s3_server: SeaweedFS,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = make_folder(9)
    (tmp_path / "tiny.toml").write_text(ENTRY)
    monkeypatch.setenv("ICANVAS_CATALOGUE", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    get_settings.cache_clear()
    dataset = find_dataset("tiny")
    # Reference: the thread runner, with another store.
    expected = prepare("tiny")
    raw = acquire(dataset, s3_store)
    plan = plan_pair_set(dataset, raw, s3_store.url, force=False)
    shutil.rmtree(pictures)
    caches = [tmp_path / f"cache-{number}" for number in range(2)]
    with run_faulty_proxy(s3_server) as proxy:
        environments = [
            {
                "ICANVAS_CACHE": str(cache),
                # The only file of a worker that is not in the store.
                "ICANVAS_WEIGHTS": str(fetch_default_weights()),
                # Must not be used: each task gets the URL of the store.
                "ICANVAS_STORE": "/nowhere",
                "AWS_ENDPOINT_URL_S3": endpoint,
            }
            for cache, endpoint in zip(caches, (proxy.endpoint, s3_server.endpoint), strict=True)
        ]
        with start(tmp_path, environments) as cluster:
            # Kill the worker when half of its first pair shard is uploaded.
            killed = []

            def kill() -> None:
                cluster.kill_first()
                killed.append(True)

            proxy.fault = fault_at_request(
                lambda request: request.method == "PUT" and request.key.endswith(".tar"),
                *(0, Fault("truncate", kill)),
            )
            monkeypatch.setenv("ICANVAS_RUNNER", name)
            monkeypatch.setenv("ICANVAS_RUNNER_ADDRESS", cluster.address)
            get_settings.cache_clear()

            @flow
            def resume() -> None:
                pin(s3_store, "tiny", plan.fingerprint, plan.settings)
                extract_shards(plan, raw, s3_store.url)

            resume()
        assert killed, "the first worker uploaded no shard"
    publish_pairs(plan, raw, s3_store)
    assert all(list(cache.glob("shards/*")) for cache in caches), (
        "a worker used the cache of another"
    )
    objects = {key: s3_store.get(key) for key in s3_store.list_keys("datasets")}
    by_threads = {key: store.get(key) for key in store.list_keys("datasets")}
    assert objects.keys() == by_threads.keys()
    assert not [key for key in objects if objects[key] != by_threads[key]]
    assert plan.fingerprint == expected.fingerprint
