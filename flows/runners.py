"""Task runners for the extraction: threads, processes, or the workers of a Ray or Dask cluster."""

import importlib.util
import logging
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from prefect.settings import PREFECT_API_URL
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from config.errors import InputError, IntegrityError
from config.settings import Settings, get_settings, get_usable_cores
from tasks.cpu_budget import set_cpu_budget

Runner = TaskRunner[Any]

# Shards per engine: while one shard is completed and stored, the network works on the other.
_MAX_CONCURRENT_SHARDS = 2

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Ray's address of the cluster that this machine is part of.
_RAY_AUTO = "auto"


def check_runner() -> None:
    """Check the settings of the runner before anything is started.

    Raises
    ------
    InputError
        If a package is not installed, or the settings contradict each other.
    """
    settings = get_settings()
    name, address = settings.runner, settings.runner_address
    if name in ("threads", "processes"):
        if address is not None:
            raise InputError(
                f"ICANVAS_RUNNER_ADDRESS={address} names a cluster, but the runner {name} uses "
                "none. Unset it, or choose --runner ray or dask."
            )
        return
    if importlib.util.find_spec(f"prefect_{name}") is None:
        raise InputError(
            f"The runner {name} is not installed. Run `pip install -c constraints.txt -e "
            f"'.[{name}]'` in the checkout, on this machine and on every worker, or use --runner "
            "threads."
        )


def runs_in_process() -> bool:
    """Return whether tasks run in this process, and so advance its progress bars."""
    return get_settings().runner == "threads"


@contextmanager
def open_runner() -> Iterator[Runner]:
    """Start the task runner of the settings. Call in a flow.

    Leaving the block cancels queued tasks.

    Yields
    ------
    TaskRunner

    Raises
    ------
    InputError
        As `check_runner`, or if the cluster cannot be reached, or cannot reach Prefect's API.
    IntegrityError
        If workers died, more often than the runner replaces them.
    """
    check_runner()
    settings = get_settings()
    _check_api_reachable(settings)
    with ExitStack() as stack:
        try:
            runner = stack.enter_context(_create_runner(settings))
            if settings.runner == "dask":
                # It would only connect for the first task.
                _ = runner.client  # type: ignore[attr-defined]
        except (OSError, RuntimeError, ValueError) as error:
            where = settings.runner_address or "this machine"
            raise InputError(
                f"No {settings.runner} cluster on {where} ({type(error).__name__}: "
                f"{_first_line(error)}). Check that it runs, and check ICANVAS_RUNNER_ADDRESS."
            ) from error
        try:
            yield runner
        except Exception as error:
            if not _is_worker_loss(error):
                raise
            raise IntegrityError(
                f"Workers of the runner {settings.runner} died ({type(error).__name__}), possibly "
                "out of memory, as each loads HED. Run again to resume. Fewer "
                "ICANVAS_RUNNER_PROCESSES or more ICANVAS_CORES each take less memory."
            ) from error


def _create_runner(settings: Settings) -> Runner:
    address, processes = settings.runner_address, settings.runner_processes
    cores = max(1, get_usable_cores() // processes)
    if settings.runner == "threads":
        return ThreadPoolTaskRunner(max_workers=_MAX_CONCURRENT_SHARDS)
    if settings.runner == "processes":
        return ProcessPoolTaskRunner(
            max_workers=processes, initializer=set_cpu_budget, initargs=(cores,)
        )
    if settings.runner == "dask":
        return _create_dask_runner(address, processes, cores)
    return _create_ray_runner(address, processes, cores)


def _create_dask_runner(address: str | None, processes: int, cores: int) -> Runner:
    from prefect_dask.task_runners import DaskTaskRunner

    if address is not None:
        return DaskTaskRunner(address=address)
    return DaskTaskRunner(
        cluster_kwargs={
            "n_workers": processes,
            "threads_per_worker": _MAX_CONCURRENT_SHARDS,
            "env": {"ICANVAS_CORES": str(cores)},
            # Reachable from this machine only, and no fixed port.
            "host": "127.0.0.1",
            "dashboard_address": None,
        }
    )


def _create_ray_runner(address: str | None, processes: int, cores: int) -> Runner:
    from prefect_ray.task_runners import RayTaskRunner

    # Logs go to Prefect. Ray's copy would break the progress bars.
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    local_cluster: dict[str, Any] = {
        # Ray counts a shard as one CPU.
        "num_cpus": processes,
        "runtime_env": {"env_vars": {"ICANVAS_CORES": str(cores)}},
        "include_dashboard": False,
    }
    kwargs = quiet if address is not None else quiet | local_cluster
    runner: Runner = RayTaskRunner(address=address, init_kwargs=kwargs)
    return runner


def _check_api_reachable(settings: Settings) -> None:
    """Raise if remote workers would look for Prefect's API on their own machine."""
    if settings.runner_address is None:
        return
    api_host = urlsplit(PREFECT_API_URL.value() or "").hostname
    # Ray addresses may lack a scheme.
    runner_host = urlsplit(f"//{settings.runner_address.rpartition('//')[2]}").hostname
    if runner_host not in (*_LOOPBACK, _RAY_AUTO) and api_host in (*_LOOPBACK, None):
        raise InputError(
            f"The workers of {settings.runner_address} report to Prefect's API, which is on this "
            "machine only. Set PREFECT_API_URL to a server that they reach (docs/scale.md)."
        )


def _is_worker_loss(error: Exception) -> bool:
    """Return whether an error means a dead worker. By module: the library may not be installed."""
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, BrokenExecutor) or library in ("distributed", "ray")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")
