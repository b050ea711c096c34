"""Runs `icanvas up` with a test catalogue, and acts on it through Prefect's API."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectHTTPStatusError

from storage import LocalStore
from tests.conftest import draw_scene, encode

ROOT = Path(__file__).parents[2]

# Ten times what an idle machine needs.
TIMEOUT_S = 600

ENTRY = """
name = "{name}"
title = "A few scenes"
shard_size = {shard}
val_share = 0.5
[source]
kind = "local"
path = "{name}"
[edges]
border = 2
"""


@dataclass
class RunningStack:
    """A running `icanvas up`.

    Attributes
    ----------
    process : Popen
        Process of `icanvas up`.
    url : str
        URL of the Prefect UI.
    folder : Path
        Folder of catalogue, pictures and store.
    environment : dict
        Environment for additional workers.
    client : SyncPrefectClient
        Client of its API.
    """

    process: subprocess.Popen[str]
    url: str
    folder: Path
    environment: dict[str, str]
    client: SyncPrefectClient = field(init=False)

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.folder / "store")

    def start(
        self, deployment: str, environment: dict[str, str] | None = None, **parameters: Any
    ) -> UUID:
        """Start a run as the form of the UI does, optionally with environment variables."""
        deployment_info = self.client.read_deployment_by_name(deployment)
        # Deployments that a test created have none.
        job_environment = deployment_info.job_variables.get("env", {})
        run = self.client.create_flow_run_from_deployment(
            deployment_info.id,
            parameters=parameters,
            job_variables={"env": {**job_environment, **environment}} if environment else None,
        )
        return run.id

    def wait_until(
        self, run: UUID, condition: Callable[[FlowRun], bool], timeout_s: float = TIMEOUT_S
    ) -> FlowRun:
        """Wait until a run meets a condition. A run that ends before fails the test."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            flow_run = self.client.read_flow_run(run)
            if condition(flow_run):
                return flow_run
            if flow_run.state is not None and flow_run.state.is_final():
                break
            time.sleep(0.3)
        pytest.fail(f"{flow_run.name} is {flow_run.state!r}; log: {self.read_log(run)[-10:]}")

    def wait_for_form(self, run: UUID) -> tuple[dict[str, Any], str]:
        """Wait until a run is paused and its form can be read: (JSON schema, description).

        Prefect writes the form after the state, so a paused run may have none yet.
        """
        paused = self.wait_until(run, lambda flow_run: flow_run.state_name == "Paused")
        assert paused.state is not None
        keys: Any = paused.state.state_details.run_input_keyset

        def read_form(_: FlowRun) -> bool:
            try:
                form.update({key: self.client.read_flow_run_input(run, keys[key]) for key in form})
            except PrefectHTTPStatusError as error:
                if error.response.status_code != 404:
                    raise
                return False
            return True

        form = {"schema": "", "description": ""}
        self.wait_until(run, read_form)
        return json.loads(form["schema"]), form["description"]

    def wait_completed(self, run: UUID) -> FlowRun:
        return self.wait_ended(run, "Completed")

    def wait_ended(self, run: UUID, state: str) -> FlowRun:
        """Wait until a run has ended in a state and its log is complete, which takes longer."""
        flow_run = self.wait_until(run, lambda found: found.state_name == state)
        deadline = time.monotonic() + TIMEOUT_S
        while not any(line.startswith("Finished in state") for line in self.read_log(run)):
            assert time.monotonic() < deadline, f"{flow_run.name} has no end in its log"
            time.sleep(0.3)
        return flow_run

    def read_log(self, run: UUID) -> list[str]:
        log_filter = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
        return [line.message for line in self.client.read_logs(log_filter)]

    def read_artifacts(self, run: UUID) -> dict[str, Any]:
        artifact_filter = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
        artifacts = self.client.read_artifacts(artifact_filter=artifact_filter)
        return {str(artifact.key): artifact.data for artifact in artifacts}

    def list_task_runs(self, run: UUID) -> list[str]:
        task_run_filter = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run]))
        return sorted(
            task.name for task in self.client.read_task_runs(task_run_filter=task_run_filter)
        )

    def has_logged(self, run: UUID, text: str) -> Callable[[FlowRun], bool]:
        return lambda _: any(text in line for line in self.read_log(run))

    def count_parts(self, dataset: str) -> int:
        """Return the number of extracted shards."""
        return sum("/parts/" in key for key in self.store.list_keys(f"datasets/{dataset}/pairs"))

    def start_worker(self, pool: str) -> subprocess.Popen[bytes]:
        """Start another worker in its own process group."""
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "prefect",
                "worker",
                "start",
                "--type",
                "process",
                "--pool",
                pool,
            ],
            env={
                **self.environment,
                "PREFECT_API_URL": f"{self.url}/api",
                "PREFECT_WORKER_QUERY_SECONDS": "1",
            },
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def list_processes(self, run: UUID | None = None) -> set[int]:
        """Return the process ids of the stack, or of a run, by their environment variables."""
        variable = f"PREFECT_HOME={self.environment['PREFECT_HOME']}".encode()
        if run is not None:
            variable = f"PREFECT__FLOW_RUN_ID={run}".encode()
        pids = set()
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if variable in environ.read_bytes().split(b"\0"):
                    pids.add(int(environ.parent.name))
            except OSError:
                continue
        return pids


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("operations")
    for name, pictures, shard in (
        ("tiny", 6, 2),
        # Takes longer than the next run takes to start.
        ("many", 60, 2),
        ("doomed", 40, 2),
        # One shard that takes minutes.
        ("long", 256, 256),
    ):
        (folder / name).mkdir()
        for number in range(pictures):
            scene = draw_scene(number, 256, 256)
            (folder / name / f"{number:03d}.png").write_bytes(encode(scene))
        (folder / f"{name}.toml").write_text(ENTRY.format(name=name, shard=shard))
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        port, drawing_port = one.getsockname()[1], other.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(folder / "prefect"),
        "ICANVAS_STORE": str(folder / "store"),
        "ICANVAS_CATALOGUE": str(folder),
    }
    # Set if this session has a server of its own.
    environment.pop("PREFECT_API_URL", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "up", "--port", str(port), "--draw-port", str(drawing_port)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = RunningStack(process, f"http://127.0.0.1:{port}", folder, environment)
    try:
        assert process.stdout is not None
        output_lines = []
        for line in process.stdout:
            output_lines.append(line)
            if line.startswith("Try:"):
                break
        assert process.poll() is None, "".join(output_lines)
        with SyncPrefectClient(f"{running.url}/api") as running.client:
            yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)


@pytest.fixture(scope="package")
def shared() -> dict[str, Any]:
    """Pass values from one test to a later one, so that tests run while others wait."""
    return {}
