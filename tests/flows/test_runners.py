"""What shards are shared out to, and what of a machine each of several processes takes."""

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from config.errors import InputError, IntegrityError
from config.settings import get_settings
from flows import runners
from tasks import cpu_budget


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def choose(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"ICANVAS_{name.upper()}", value)
        get_settings.cache_clear()

    return choose


@pytest.mark.parametrize("name", ["ray", "dask"])
def test_what_is_missing_is_named(
    name: str, choose: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    choose(runner=name)
    with pytest.raises(InputError, match=rf"{name} is not installed.*'\.\[{name}\]'"):
        runners.check_runner()


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_an_address_without_a_cluster_is_refused(name: str, choose: Callable[..., None]) -> None:
    choose(runner=name, runner_address="tcp://cluster:8786")
    with pytest.raises(InputError, match="ICANVAS_RUNNER_ADDRESS=tcp://cluster:8786"):
        runners.check_runner()


@pytest.mark.parametrize("address", ["tcp://cluster:8786", "cluster:6379"])
def test_workers_elsewhere_need_a_server_that_they_reach(
    address: str, choose: Callable[..., None]
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    choose(runner="dask", runner_address=address)
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api"}),
        pytest.raises(InputError, match="Set PREFECT_API_URL"),
        runners.open_runner(),
    ):
        pass


def test_a_cluster_that_is_not_there_is_told(
    choose: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask

    choose(runner="dask", runner_address="tcp://127.0.0.1:9")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "100ms"}),
        pytest.raises(InputError, match=r"no dask on tcp://127\.0\.0\.1:9 .*ICANVAS_RUNNER_ADDR"),
        runners.open_runner(),
    ):
        pass


def test_dead_workers_are_told_in_one_line(choose: Callable[..., None]) -> None:
    choose(runner="threads")
    with (
        pytest.raises(IntegrityError, match=r"died \(BrokenProcessPool\).*Run again"),
        runners.open_runner(),
    ):
        raise BrokenProcessPool
    with pytest.raises(KeyError), runners.open_runner():
        raise KeyError


def test_processes_of_one_machine_share_its_cores(
    choose: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(runner="processes", runner_processes="3", cores="8")
    runner: Any = runners._create_runner(get_settings())
    assert (runner._max_workers, runner._initargs) == (3, (2,))
    # What a process was given counts, not what it inherited.
    monkeypatch.setattr(cpu_budget, "_budget", None)
    assert cpu_budget.get_cpu_budget() == 8
    runner._initializer(*runner._initargs)
    assert cpu_budget.get_cpu_budget() == 2
    choose(runner="dask", runner_processes="9")
    cluster: Any = runners._create_runner(get_settings())
    assert cluster.cluster_kwargs["n_workers"] == 9
    assert cluster.cluster_kwargs["env"] == {"ICANVAS_CORES": "1"}


def test_a_worker_of_a_cluster_takes_what_it_counts_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    class Worker:
        class state:  # noqa: N801
            nthreads = 3

    monkeypatch.setattr(cpu_budget, "_budget", None)
    monkeypatch.setattr(distributed, "get_worker", Worker)
    assert cpu_budget.get_cpu_budget() == 3
    # A thread of the worker that runs no task is told nothing.
    monkeypatch.undo()
    monkeypatch.setattr(cpu_budget, "count_cores", lambda: 5)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(cpu_budget.get_cpu_budget).result() == 5


def test_what_goes_to_a_worker_is_small(tmp_path: Path) -> None:
    """No network, no weights, no picture: a shard's number and how it is done."""
    import cloudpickle

    from sources import find_dataset
    from tasks.extract import extract
    from tasks.pair_set_plan import PairSetPlan

    plan = PairSetPlan(find_dataset(str(tmp_path)), "raw", 0.5, "weights")
    assert len(cloudpickle.dumps((extract, plan))) < 16_000
