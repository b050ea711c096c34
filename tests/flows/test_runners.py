"""Task runners, and the CPU budgets of their workers."""

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
def test_missing_runner_package_raises(
    name: str, choose: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    choose(runner=name)
    with pytest.raises(InputError, match=rf"{name} is not installed.*'\.\[{name}\]'"):
        runners.check_runner()


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_address_without_cluster_runner_raises(name: str, choose: Callable[..., None]) -> None:
    choose(runner=name, runner_address="tcp://cluster:8786")
    with pytest.raises(InputError, match="ICANVAS_RUNNER_ADDRESS=tcp://cluster:8786"):
        runners.check_runner()


@pytest.mark.parametrize("address", ["tcp://cluster:8786", "cluster:6379"])
def test_remote_workers_need_a_reachable_api(address: str, choose: Callable[..., None]) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    choose(runner="dask", runner_address=address)
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api"}),
        pytest.raises(InputError, match="Set PREFECT_API_URL"),
        runners.open_runner(),
    ):
        pass


def test_unreachable_cluster_raises(
    choose: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask

    choose(runner="dask", runner_address="tcp://127.0.0.1:9")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "100ms"}),
        pytest.raises(InputError, match=r"No dask cluster on tcp://127\.0\.0\.1:9 .*_ADDRESS"),
        runners.open_runner(),
    ):
        pass


def test_dead_workers_raise_integrity_error(choose: Callable[..., None]) -> None:
    choose(runner="threads")
    with (
        pytest.raises(IntegrityError, match=r"died \(BrokenProcessPool\).*Run again"),
        runners.open_runner(),
    ):
        raise BrokenProcessPool
    with pytest.raises(KeyError), runners.open_runner():
        raise KeyError


def test_processes_share_the_cores(
    choose: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(runner="processes", runner_processes="3", cores="8")
    runner: Any = runners._create_runner(get_settings())
    assert (runner._max_workers, runner._initargs) == (3, (2,))
    # The given budget overrides the inherited setting.
    monkeypatch.setattr(cpu_budget, "_budget", None)
    assert cpu_budget.get_cpu_budget() == 8
    runner._initializer(*runner._initargs)
    assert cpu_budget.get_cpu_budget() == 2
    choose(runner="dask", runner_processes="9")
    cluster: Any = runners._create_runner(get_settings())
    assert cluster.cluster_kwargs["n_workers"] == 9
    assert cluster.cluster_kwargs["env"] == {"ICANVAS_CORES": "1"}


def test_cluster_worker_uses_its_assigned_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    class Worker:
        class state:  # noqa: N801
            nthreads = 3

    monkeypatch.setattr(cpu_budget, "_budget", None)
    monkeypatch.setattr(distributed, "get_worker", Worker)
    assert cpu_budget.get_cpu_budget() == 3
    # Threads of the worker that run no task have no assignment.
    monkeypatch.undo()
    monkeypatch.setattr(cpu_budget, "count_cores", lambda: 5)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(cpu_budget.get_cpu_budget).result() == 5


def test_pickled_task_is_small(tmp_path: Path) -> None:
    """A task carries its plan, but no network, weights or pictures."""
    import cloudpickle

    from sources import find_dataset
    from tasks.extract import extract
    from tasks.pair_set_plan import PairSetPlan

    plan = PairSetPlan(find_dataset(str(tmp_path)), "raw", 0.5, "weights")
    assert len(cloudpickle.dumps((extract, plan))) < 16_000
