"""What operators do, in this order: one server, one worker, and runs that take turns."""

import base64
import json
import os
import re
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import cv2
import httpx
import numpy as np
import pytest
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import AwaitingRetry, Cancelling

from storage.pair_sets import is_published, read_current
from storage.promotions import read_promoted
from tests.model.checkpoints import save_test_run
from tests.operations.conftest import TIMEOUT_S, RunningStack

pytestmark = pytest.mark.slow


def test_all_flows_are_deployed_with_forms(stack: RunningStack) -> None:
    deployments = {it.name: it for it in stack.client.read_deployments()}
    assert set(deployments) == {
        *("prepare", "extract", "use", "calibrate", "check-updates"),
        *("train", "compare", "promote", "rollback"),
    }
    pools = {name: it.work_pool_name for name, it in deployments.items()}
    assert pools.pop("train") == "gpu"
    assert set(pools.values()) == {"extract"}
    for deployment in deployments.values():
        assert (
            deployment.description
            and "How long" in deployment.description
            and "costs" in deployment.description
        )
        assert deployment.tags
        assert deployment.global_concurrency_limit is not None
    form: Any = deployments["extract"].parameter_openapi_schema
    assert {"demo", "tiny", "panda"} <= set(form["properties"]["source"]["enum"])
    threshold = form["definitions"]["EdgeOptions"]["properties"]["threshold"]
    assert (threshold["exclusiveMinimum"], threshold["exclusiveMaximum"]) == (0, 1)
    weekly = deployments["check-updates"].schedules[0].schedule
    assert (weekly.cron, weekly.timezone) == ("0 4 * * 1", "Europe/Berlin")  # type: ignore[union-attr]
    for parameters in ({"source": "typo"}, {"source": "tiny", "edges": {"threshold": 1.5}}):
        with pytest.raises(PrefectHTTPStatusError, match=r"409|422"):
            stack.start("extract/extract", **parameters)


def test_worker_is_killed(stack: RunningStack, shared: dict[str, Any]) -> None:
    """A later test checks that the run is marked crashed, which takes 90 seconds."""
    deployment = stack.client.read_deployment_by_name("prepare/prepare")
    stack.client.create_work_pool(WorkPoolCreate(name="doomed", type="process"))
    stack.client.create_deployment(
        deployment.flow_id,
        "doomed",
        work_pool_name="doomed",
        entrypoint=deployment.entrypoint,
        pull_steps=deployment.pull_steps,
        job_variables=deployment.job_variables,
        parameter_openapi_schema=deployment.parameter_openapi_schema,
    )
    worker = stack.start_worker("doomed")
    try:
        run = stack.start("prepare/doomed", source="doomed")
        stack.wait_until(run, lambda _: stack.count_parts("doomed") > 1)
        # Kill all at once, as a power failure does: no process reports to the server.
        for process in (worker.pid, *stack.list_processes(run)):
            os.kill(process, signal.SIGKILL)
    finally:
        worker.kill()
        worker.wait()
    shared["crashed"] = run


def test_prepare_creates_artifacts(stack: RunningStack, shared: dict[str, Any]) -> None:
    run = stack.start("prepare/prepare", source="tiny", reason="a first look")
    flow_run = stack.wait_completed(run)
    assert flow_run.name == "prepare tiny: a first look"
    shards = [f"extract tiny {number:05d}" for number in range(3)]
    assert stack.list_task_runs(run) == ["acquire tiny", *shards, "publish tiny"]
    log = stack.read_log(run)
    for number in range(3):
        of_shard = [line for line in log if f"tiny {number:05d}" in line]
        assert of_shard == [f"tiny {number:05d}: 2 pairs, 0 rejected"]
    assert len(log) < 20, f"an operator reads this: {log}"
    artifacts = stack.read_artifacts(run)
    assert artifacts["tiny-extract"] == 100
    page = artifacts["pairs-tiny"]
    current = read_current(stack.store, "tiny")
    assert current is not None
    assert "| source files | 6 |" in page
    assert f"`{current.fingerprint}`, in use" in page
    assert "| `edges.threshold` | `0.5` |" in page
    report = re.search(
        rf"\[report\.html\]\((http://\S+/{current.fingerprint}/report\.html)\)", page
    )
    assert report and f"pair set {current.fingerprint}" in httpx.get(report[1]).text
    _check_image(page)
    shared["first"] = current.fingerprint


def test_extract_needs_no_source(stack: RunningStack, shared: dict[str, Any]) -> None:
    pictures = stack.folder / "tiny"
    pictures.rename(stack.folder / "away")
    first = shared["first"]
    try:
        trial = stack.start("extract/extract", source="tiny", edges={"threshold": 0.3}, use=False)
        assert stack.wait_completed(trial).name == "extract tiny: threshold 0.3, use no"
        assert _get_current_fingerprint(stack) == first, "the pair set is in use despite use=False"
        run = stack.start("extract/extract", source="tiny", edges={"threshold": 0.3})
        stack.wait_completed(run)
        second = _get_current_fingerprint(stack)
    finally:
        (stack.folder / "away").rename(pictures)
    assert second != first
    assert is_published(stack.store, "tiny", first)
    page = stack.read_artifacts(run)["against-tiny"]
    assert f"| pair set | `{first}` | `{second}` |" in page
    assert "| `edges.threshold` | `0.5` | `0.3` |" in page
    old_density, new_density = map(float, re.findall(r"median \| ([\d.]+)% \| ([\d.]+)%", page)[0])
    assert old_density < new_density, "a lower threshold must draw more lines"
    _check_image(page)
    folder = f"datasets/tiny/pairs/{second}"
    assert b"data:image/jpeg" in stack.store.get(f"{folder}/against-{first}.html")
    stack.wait_completed(stack.start("use/use", source="tiny", fingerprint=first))
    assert _get_current_fingerprint(stack) == first


def test_invalid_input_is_logged_in_one_line_and_not_retried(stack: RunningStack) -> None:
    run = stack.start("use/use", source="tiny", fingerprint="0" * 12)
    flow_run = stack.wait_ended(run, "Failed")
    assert flow_run.state is not None and flow_run.state.message is not None
    assert "no complete pair set '000000000000' of tiny" in flow_run.state.message.splitlines()[0]
    errors = [line for line in stack.read_log(run) if "no complete pair set" in line]
    assert errors[0].startswith("NotFoundError: ")
    assert not any("Traceback" in line for line in errors)


def test_second_run_waits_until_first_is_canceled(stack: RunningStack) -> None:
    first_run = stack.start("prepare/prepare", source="many")
    stack.wait_until(first_run, lambda _: stack.count_parts("many") > 0)
    second_run = stack.start("prepare/prepare", source="many", reason="second")
    stack.wait_until(second_run, stack.has_logged(second_run, "waiting for it to end"))
    stack.client.set_flow_run_state(first_run, Cancelling())
    start = time.monotonic()
    stack.wait_until(first_run, lambda found: found.state_name == "Cancelled")
    cancel_seconds = time.monotonic() - start
    num_parts = stack.count_parts("many")
    # The slot is released at once: the second run need not wait for the lease to expire.
    stack.wait_until(second_run, stack.has_logged(second_run, "many: 60 files"))
    wait_seconds = time.monotonic() - start
    stack.wait_completed(second_run)
    print(f"canceled after {cancel_seconds:.1f} s, the next at work after {wait_seconds:.1f} s")
    assert 0 < num_parts < 30
    assert 0 < _count_extracted_shards(stack, second_run) < 30


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_shard_of_minutes_is_canceled_before_prefect_kills_it(
    stack: RunningStack, runner: str
) -> None:
    settings = {"ICANVAS_RUNNER": runner, "ICANVAS_WORKERS": "1"}
    run = stack.start("prepare/prepare", settings, source="long")
    shard = "extract long 00000"
    stack.wait_until(run, lambda _: shard in stack.list_task_runs(run))
    # By then pictures are being extracted.
    time.sleep(5)
    assert len(stack.list_processes(run)) >= (2 if runner == "processes" else 1)
    if runner == "threads":
        busy = {"ICANVAS_WHEN_BUSY": "refuse"}
        refused = stack.wait_ended(stack.start("prepare/prepare", busy, source="long"), "Failed")
        assert refused.state is not None
        assert "Another run is at work on long" in str(refused.state.message)
    stack.client.set_flow_run_state(run, Cancelling())
    start = time.monotonic()
    stack.wait_until(run, lambda found: found.state_name == "Cancelled")
    cancel_seconds = time.monotonic() - start
    print(f"canceled after {cancel_seconds:.1f} s with {runner}")
    # Logged by the run itself: after 30 s Prefect would have killed it.
    assert "Flow run was cancelled." in stack.read_log(run)
    assert not stack.list_processes(run)
    assert stack.count_parts("long") == 0, "the run ended before it was canceled"


def test_generator_is_trained_and_promoted(stack: RunningStack) -> None:
    small = {"epochs": 2, "image_size": 64, "generator_width": 4, "generator_blocks": 1}
    run = stack.start("train/train", source="tiny", recipe={**small, "discriminator_width": 4})
    stack.wait_completed(run)
    page = stack.read_artifacts(run)["run-tiny"]
    name = re.search(r"\| `(\w{12})/1` \| [\d.]+ \| \[epoch-0001\.pt\]\((http://\S+)\) \|", page)
    assert name
    # `icanvas up` serves the files of a local store.
    assert httpx.get(name[2]).content == stack.store.get(
        f"models/tiny/{name[1]}/checkpoints/epoch-0001.pt"
    )
    for epoch in (1, 2):
        promote_run = stack.start(
            "promote/promote", source="tiny", checkpoint=f"{name[1]}/{epoch}", note="a test"
        )
        assert (
            stack.wait_completed(promote_run).name == f"promote tiny: checkpoint {name[1]}/{epoch}"
        )
    page = stack.read_artifacts(promote_run)["promoted-tiny"]
    assert f"| in service | `{name[1]}/2` |" in page
    assert f"|  | `{name[1]}/1` |" in page
    assert page.count("data:image/jpeg") >= 2
    rollback_run = stack.start("rollback/rollback", source="tiny", note="worse")
    stack.wait_completed(rollback_run)
    promoted = read_promoted(stack.store, "tiny")
    assert promoted is not None
    assert (promoted.epoch, promoted.note) == (1, "worse")
    with pytest.raises(PrefectHTTPStatusError, match=r"409|422"):
        stack.start("promote/promote", source="tiny", checkpoint="../tiny/1")


def test_canceled_training_run_saves_a_checkpoint(stack: RunningStack) -> None:
    """The run is never marked crashed, because Prefect's signal handler stays installed."""
    sizes = {"generator_width": 4, "generator_blocks": 1, "discriminator_width": 4}
    recipe = {**sizes, "image_size": 64, "batch": 1, "epochs": 100_000, "checkpoint_every": 100_000}
    run = stack.start("train/train", source="tiny", recipe=recipe)
    # The bar counts training steps.
    stack.wait_until(run, lambda _: (stack.read_artifacts(run).get("tiny-train") or 0) > 0)
    stack.client.set_flow_run_state(run, Cancelling())
    stack.wait_until(run, lambda found: found.state_name == "Cancelled")
    states = [state.name for state in stack.client.read_flow_run_states(run)]
    assert states[-1] == "Cancelled"
    assert "Crashed" not in states
    checkpoints = [
        key for key in stack.store.list_keys("models/tiny") if "/checkpoints/step-" in key
    ]
    assert len(checkpoints) == 2


def test_schedule_starts_check_updates(stack: RunningStack) -> None:
    deployment = stack.client.read_deployment_by_name("check-updates/check-updates")
    anchor = datetime.now(UTC) + timedelta(seconds=15)
    schedule = IntervalSchedule(
        interval=timedelta(seconds=60), anchor_date=anchor, timezone="Europe/Berlin"
    )
    (stack.folder / "tiny" / "new.png").write_bytes((stack.folder / "many/039.png").read_bytes())
    created = stack.client.create_deployment_schedules(
        deployment.id, [DeploymentScheduleCreate(schedule=schedule, active=True)]
    )
    try:
        run = _wait_for_run(
            stack, lambda it: it.deployment_id == deployment.id and it.start_time is not None
        )
        assert run.auto_scheduled
        stack.wait_completed(run.id)
    finally:
        stack.client.delete_deployment_schedule(deployment.id, created[0].id)
    table = json.loads(stack.read_artifacts(run.id)["check-updates"])
    states = {row["data set"]: row["state"] for row in table}
    assert (states["tiny"], states["many"]) == ("new", "same")
    started = _wait_for_run(stack, lambda it: it.name == "prepare tiny: its files have changed")
    stack.wait_completed(started.id)
    current = read_current(stack.store, "tiny")
    assert current is not None and current.train is not None and current.val is not None
    assert current.train + current.val == 7


def test_run_prompts_operator(stack: RunningStack) -> None:
    deployment = stack.client.read_deployment_by_name("prepare/prepare")
    stack.client.create_deployment(
        stack.client.create_flow_from_name("prompt"),
        "prompt",
        work_pool_name="extract",
        entrypoint="tests/operations/prompting_flow.py:prompt",
        pull_steps=deployment.pull_steps,
    )
    run = stack.start("prompt/prompt", options=["run-1", "run-2"])
    form, description = stack.wait_for_form(run)
    assert form["properties"]["choice"]["enum"] == ["run-1", "run-2", "none"]
    assert "| run-2 | 0.1 |" in description
    response = stack.client.resume_flow_run(run, run_input={"choice": "run-3"})
    assert response.status.name == "REJECT", "an invalid option was accepted"
    stack.client.resume_flow_run(run, run_input={"choice": "run-2"})
    stack.wait_completed(run)
    assert "chosen: run-2" in stack.read_log(run)


def test_operator_chooses_a_checkpoint(stack: RunningStack) -> None:
    stack.wait_completed(stack.start("prepare/prepare", source="tiny"))
    save_test_run(stack.store, "aaaa", 2, "tiny", _get_current_fingerprint(stack))
    run = stack.start("compare/compare", source="tiny", pictures=2, decide=True, reason="trial")
    form, description = stack.wait_for_form(run)
    options = form["properties"]["choice"]["enum"]
    # Newest first, and the promoted checkpoint is among them.
    assert [*options[:2], options[-1]] == ["aaaa/2", "aaaa/1", "none"]
    promoted = read_promoted(stack.store, "tiny")
    assert promoted is not None and promoted.checkpoint in options
    assert "| lines copied onto white |" in description and "/vote.html)" in description
    _check_image(stack.read_artifacts(run)["comparison-tiny"])
    stack.client.resume_flow_run(run, run_input={"choice": "aaaa/1"})
    stack.wait_completed(run)
    promoted = read_promoted(stack.store, "tiny")
    assert promoted is not None
    assert (promoted.checkpoint, promoted.note, promoted.title) == (
        "aaaa/1",
        "trial",
        "A few scenes",
    )
    assert "| in service | `aaaa/1` |" in stack.read_artifacts(run)["promoted-tiny"]


def test_crashed_run_can_be_retried(stack: RunningStack, shared: dict[str, Any]) -> None:
    run = shared["crashed"]
    crashed = stack.wait_until(run, lambda it: it.state_name == "Crashed", timeout_s=300)
    assert crashed.state is not None
    assert "No heartbeat from its worker for 90 s" in str(crashed.state.message)
    num_done = stack.count_parts("doomed")
    assert 0 < num_done < 20
    worker = stack.start_worker("doomed")
    try:
        # What *Retry* in the UI does.
        stack.client.set_flow_run_state(run, AwaitingRetry(), force=True)
        stack.wait_completed(run)
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(TIMEOUT_S)
    assert read_current(stack.store, "doomed") is not None
    num_extracted = _count_extracted_shards(stack, run)
    assert num_extracted < 40 - num_done, "extracted shards were extracted again"


def test_stopping_leaves_no_processes(stack: RunningStack) -> None:
    run = stack.start("extract/extract", source="many", edges={"threshold": 0.2})
    stack.wait_until(run, stack.has_logged(run, "many 00000"))
    assert len(stack.list_processes()) >= 4
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(TIMEOUT_S) == 0
    assert not stack.list_processes()


def _get_current_fingerprint(stack: RunningStack) -> str:
    current = read_current(stack.store, "tiny")
    assert current is not None
    return current.fingerprint


def _check_image(page: str) -> None:
    match = re.search(r"\(data:image/jpeg;base64,([^)]+)\)", page)
    assert match
    data = np.frombuffer(base64.b64decode(match[1]), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[1] >= 500
    assert image.std() > 20


def _count_extracted_shards(stack: RunningStack, run: UUID) -> int:
    return sum(bool(re.search(r" \d{5}: \d+ pairs", line)) for line in stack.read_log(run))


def _wait_for_run(stack: RunningStack, condition: Callable[[FlowRun], bool]) -> FlowRun:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        for run in stack.client.read_flow_runs():
            if condition(run):
                return run
        time.sleep(0.5)
    pytest.fail("no such run")
