"""Fixtures of the fault tests: Prefect server, S3 server, baseline run, table of outcomes."""

import json
import os
import random
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from config.settings import get_settings
from tests.conftest import draw_scene, encode
from tests.faults.environment import (
    NO_SHARD_CACHE,
    PICTURE_NAMES,
    Baseline,
    Environment,
    FaultOutcome,
    wait_until,
)
from tests.faults.faulty_proxy import run_faulty_proxy
from tests.s3 import SeaweedFS, running_s3

ENTRY = """
name = "tiny"
title = "A few scenes"
shard_size = 3
val_share = 0.25
[source]
kind = "local"
path = "pictures"
[edges]
border = 16
[recipe]
epochs = 3
batch = 2
image_size = 64
augment = 1
# Checkpoints of 18 MB, which are uploaded in parts.
generator_width = 32
generator_blocks = 2
discriminator_width = 32
"""

MakeEnvironment = Callable[..., Environment]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "moment" in metafunc.fixturenames:
        metafunc.parametrize("moment", range(metafunc.config.getoption("moments")))


@pytest.fixture
def rng(request: pytest.FixtureRequest, moment: int) -> random.Random:
    """Return a generator that decides a fault's moment, seeded by seed, test and moment number."""
    return random.Random(f"{request.config.getoption('seed')} {request.node.name}")


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one Prefect server for all tests, and return its API URL."""
    folder = tmp_path_factory.mktemp("prefect-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                Path(sys.executable).with_name("prefect"),
                *("server", "start", "--host", "127.0.0.1", "--port", str(port)),
            ],
            env={
                **os.environ,
                "PREFECT_HOME": str(folder),
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            },
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}/api"

    def healthy() -> bool:
        try:
            return httpx.get(f"{url}/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    try:
        wait_until(healthy, 180)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalogue folder with the data set that every test prepares."""
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "tiny.toml").write_text(ENTRY)
    for number, name in enumerate(PICTURE_NAMES):
        path = folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = encode(draw_scene(9 if "twin" in name else number))
        path.write_bytes(picture[:300] if name == "torn.png" else picture)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """Start one S3 server for all tests that do not kill it."""
    with running_s3(tmp_path_factory.mktemp("seaweedfs")) as started:
        yield started


@pytest.fixture(scope="session")
def make_environment(
    prefect_url: str, catalogue: Path, server: SeaweedFS
) -> Iterator[MakeEnvironment]:
    """Return a function that makes environments, on the shared S3 server or on another one."""
    with ExitStack() as stack:

        def make(own_server: SeaweedFS | None = None) -> Environment:
            proxy = stack.enter_context(run_faulty_proxy(own_server or server))
            variables = {
                "ICANVAS_CATALOGUE": str(catalogue),
                "PREFECT_API_URL": prefect_url,
                "COLUMNS": "200",
            }
            return Environment(own_server or server, proxy, f"faults/{uuid.uuid4().hex}", variables)

        yield make


@pytest.fixture(scope="session")
def baseline(make_environment: MakeEnvironment) -> Baseline:
    """Run ``prepare`` and ``train`` without a fault."""
    environment, requests = make_environment(), {}
    for command, variables in (("prepare", {}), ("train", NO_SHARD_CACHE)):
        num_previous = len(environment.proxy.requests)
        assert environment.run_until_success(command, "tiny", **variables) == 1, environment.log
        requests[command] = tuple(environment.proxy.requests[num_previous:])
    return Baseline(environment, environment.hash_objects(), requests)


@pytest.fixture(autouse=True)
def reach_s3(server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the environment so that the tests read the store without the proxy."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@dataclass(frozen=True)
class OutcomeTable:
    """Rows of the table in ``docs/reliability.md``.

    Attributes
    ----------
    path : Path or None
        File to which rows are appended as JSON; None without the option ``--table``.
    seed : int
        Seed of the moments.
    rows : list of dict
        Rows of the current test.
    """

    path: Path | None
    seed: int
    rows: list[dict[str, object]] = field(default_factory=list)

    def add(self, fault: str, moment: str, runs: int, outcome: FaultOutcome) -> None:
        """Add a row, and fail if anything was lost or duplicated."""
        lost, duplicated = len(outcome.lost), len(outcome.duplicated)
        self.write(fault=fault, moment=moment, runs=runs, lost=lost, duplicated=duplicated)
        assert outcome == FaultOutcome([], []), f"{fault}, {moment}"

    def write(self, **row: object) -> None:
        """Append a row to the file."""
        self.rows.append(row)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps({"seed": self.seed, **row}, ensure_ascii=False) + "\n")


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Iterator[OutcomeTable]:
    path = request.config.getoption("table")
    outcomes = OutcomeTable(None if path is None else Path(path), request.config.getoption("seed"))
    yield outcomes
    if not outcomes.rows:
        # The test failed before it added its row.
        outcomes.write(
            fault=request.node.name.replace("|", "¦"), moment="failed", runs=0, lost=0, duplicated=0
        )
