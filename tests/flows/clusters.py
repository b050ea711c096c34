"""Ray and Dask clusters on this machine, whose workers have separate environments and folders."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.faults.environment import wait_until
from tests.s3 import free_ports

Environment = Mapping[str, str]


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes
    ----------
    address : str
        Address of the scheduler or head.
    kill_first : callable
        Kills the process of the first worker with SIGKILL.
    """

    address: str
    kill_first: Callable[[], None]


@contextmanager
def dask_cluster(folder: Path, environments: Sequence[Environment]) -> Iterator[Cluster]:
    """Run a Dask cluster with one worker per environment; dead workers are not replaced."""
    import distributed

    dask = (sys.executable, "-m", "dask")
    (port,) = free_ports(1)
    address = f"tcp://127.0.0.1:{port}"
    options = ("--host", "127.0.0.1", "--no-dashboard")
    with ExitStack() as stack:
        stack.enter_context(
            _run_process(
                folder / "scheduler", {}, *dask, "scheduler", *options, "--port", str(port)
            )
        )
        workers = [
            stack.enter_context(
                _run_process(
                    *(folder / f"worker-{number}", environment, *dask, "worker", address, *options),
                    *("--no-nanny", "--nthreads", "1"),
                )
            )
            for number, environment in enumerate(environments)
        ]
        client: Any = stack.enter_context(distributed.Client(address, timeout=120))
        client.wait_for_workers(len(workers), timeout=240)
        yield Cluster(address, workers[0].kill)


@contextmanager
def ray_cluster(folder: Path, environments: Sequence[Environment]) -> Iterator[Cluster]:
    """Run a Ray cluster with one node per environment; the last one is the head."""
    ray = (str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus", "1")
    options = ("--node-ip-address", "127.0.0.1", "--disable-usage-stats")
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    *others, head = environments
    with ExitStack() as stack:
        # Paths of Unix sockets are limited to 107 bytes.
        temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-"))
        stack.enter_context(
            _run_process(
                *(folder / "head", head, *ray, *options, "--head", "--port", str(port)),
                *("--include-dashboard", "false", "--temp-dir", temporary),
            )
        )
        wait_until(lambda: "Ray runtime started" in (folder / "head/log").read_text(), 240)
        nodes = [
            stack.enter_context(
                _run_process(
                    folder / f"node-{number}", environment, *ray, *options, "--address", address
                )
            )
            for number, environment in enumerate(others)
        ]
        for number in range(len(nodes)):
            log = folder / f"node-{number}/log"
            wait_until(lambda log=log: "Ray runtime started" in log.read_text(), 240)  # type: ignore[misc]

        def kill_first() -> None:
            for process in psutil.Process(nodes[0].pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::extract"):
                        process.kill()

        yield Cluster(address, kill_first)


@contextmanager
def _run_process(
    folder: Path, environment: Environment, *command: str
) -> Iterator["subprocess.Popen[bytes]"]:
    folder.mkdir()
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        process.kill()
        process.wait()
