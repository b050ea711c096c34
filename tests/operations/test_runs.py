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
from tests.model.checkpoints import keep_run
from tests.operations.conftest import PATIENCE, Stack

pytestmark = pytest.mark.slow


def test_everything_is_deployed_with_a_form(stack: Stack) -> None:
    found = {it.name: it for it in stack.client.read_deployments()}
    assert set(found) == {
        *("prepare", "extract", "use", "calibrate", "refresh-all"),
        *("train", "compare", "promote", "rollback"),
    }
    pools = {name: it.work_pool_name for name, it in found.items()}
    assert pools.pop("train") == "gpu"
    assert set(pools.values()) == {"extract"}
    for it in found.values():
        assert it.description and "How long" in it.description and "costs" in it.description
        assert it.tags
        assert it.global_concurrency_limit is not None
    form: Any = found["extract"].parameter_openapi_schema
    assert {"demo", "tiny", "panda"} <= set(form["properties"]["source"]["enum"])
    threshold = form["definitions"]["EdgeChoices"]["properties"]["threshold"]
    assert (threshold["exclusiveMinimum"], threshold["exclusiveMaximum"]) == (0, 1)
    weekly = found["refresh-all"].schedules[0].schedule
    assert (weekly.cron, weekly.timezone) == ("0 4 * * 1", "Europe/Berlin")  # type: ignore[union-attr]
    for slip in ({"source": "typo"}, {"source": "tiny", "edges": {"threshold": 1.5}}):
        with pytest.raises(PrefectHTTPStatusError, match=r"409|422"):
            stack.start("extract/extract", **slip)


def test_a_worker_that_dies(stack: Stack, seen: dict[str, Any]) -> None:
    """Killed here; that its run is marked crashed is seen later, for it takes a minute and half."""
    given = stack.client.read_deployment_by_name("prepare/prepare")
    stack.client.create_work_pool(WorkPoolCreate(name="doomed", type="process"))
    stack.client.create_deployment(
        given.flow_id,
        "doomed",
        work_pool_name="doomed",
        entrypoint=given.entrypoint,
        pull_steps=given.pull_steps,
        job_variables=given.job_variables,
        parameter_openapi_schema=given.parameter_openapi_schema,
    )
    worker = stack.worker("doomed")
    try:
        run = stack.start("prepare/doomed", source="doomed")
        stack.until(run, lambda _: stack.parts("doomed") > 1)
        # With all at once, as when the power fails: nobody is left to tell the server.
        for process in (worker.pid, *stack.processes(run)):
            os.kill(process, signal.SIGKILL)
    finally:
        worker.kill()
        worker.wait()
    seen["crashed"] = run


def test_prepare_shows_what_was_made(stack: Stack, seen: dict[str, Any]) -> None:
    run = stack.start("prepare/prepare", source="tiny", reason="a first look")
    found = stack.done(run)
    assert found.name == "prepare tiny: a first look"
    shards = [f"extract tiny {number:05d}" for number in range(3)]
    assert stack.tasks(run) == ["acquire tiny", *shards, "publish tiny"]
    log = stack.log(run)
    for number in range(3):
        of_shard = [line for line in log if f"tiny {number:05d}" in line]
        assert of_shard == [f"tiny {number:05d}: 2 pairs, 0 rejected"]
    assert len(log) < 20, f"an operator reads this: {log}"
    artifacts = stack.artifacts(run)
    assert artifacts["tiny-extract"] == 100
    page = artifacts["pairs-tiny"]
    current = read_current(stack.store, "tiny")
    assert current is not None
    assert "| pictures in | 6 |" in page
    assert f"`{current.fingerprint}`, in use" in page
    assert "| `edges.threshold` | `0.5` |" in page
    report = re.search(
        rf"\[report\.html\]\((http://\S+/{current.fingerprint}/report\.html)\)", page
    )
    assert report and f"pair set {current.fingerprint}" in httpx.get(report[1]).text
    _check_picture(page)
    seen["first"] = current.fingerprint


def test_edges_are_extracted_again_without_the_source(stack: Stack, seen: dict[str, Any]) -> None:
    pictures = stack.folder / "tiny"
    pictures.rename(stack.folder / "away")
    first = seen["first"]
    try:
        trial = stack.start("extract/extract", source="tiny", edges={"threshold": 0.3}, use=False)
        assert stack.done(trial).name == "extract tiny: threshold 0.3, use no"
        assert _in_use(stack) == first, "it was only to be looked at"
        taken = stack.start("extract/extract", source="tiny", edges={"threshold": 0.3})
        stack.done(taken)
        second = _in_use(stack)
    finally:
        (stack.folder / "away").rename(pictures)
    assert second != first
    assert is_published(stack.store, "tiny", first)
    page = stack.artifacts(taken)["against-tiny"]
    assert f"| pair set | `{first}` | `{second}` |" in page
    assert "| `edges.threshold` | `0.5` | `0.3` |" in page
    before, after = map(float, re.findall(r"median \| ([\d.]+)% \| ([\d.]+)%", page)[0])
    assert before < after, "a lower threshold draws more"
    _check_picture(page)
    folder = f"datasets/tiny/pairs/{second}"
    assert b"data:image/jpeg" in stack.store.get(f"{folder}/against-{first}.html")
    stack.done(stack.start("use/use", source="tiny", fingerprint=first))
    assert _in_use(stack) == first


def test_a_bad_setting_is_one_line_and_tried_once(stack: Stack) -> None:
    run = stack.start("use/use", source="tiny", fingerprint="0" * 12)
    ended = stack.ended(run, "Failed")
    assert ended.state is not None and ended.state.message is not None
    assert "no complete pair set '000000000000' of tiny" in ended.state.message.splitlines()[0]
    errors = [line for line in stack.log(run) if "no complete pair set" in line]
    assert errors[0].startswith("NotFoundError: ")
    assert not any("Traceback" in line for line in errors)


def test_a_second_run_waits_and_cancelling_is_quick(stack: Stack) -> None:
    one = stack.start("prepare/prepare", source="many")
    stack.until(one, lambda _: stack.parts("many") > 0)
    two = stack.start("prepare/prepare", source="many", reason="second")
    stack.until(two, stack.logged(two, "this one waits for it"))
    stack.client.set_flow_run_state(one, Cancelling())
    asked = time.monotonic()
    stack.until(one, lambda found: found.state_name == "Cancelled")
    took = time.monotonic() - asked
    done = stack.parts("many")
    # The slot is free at once: the second does what is left, and waits for no lease to end.
    stack.until(two, stack.logged(two, "many: 60 files"))
    waited = time.monotonic() - asked
    stack.done(two)
    print(f"cancelled after {took:.1f} s, the next at work after {waited:.1f} s")
    assert 0 < done < 30
    assert 0 < _shards_made(stack, two) < 30


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_a_shard_of_minutes_is_cancelled_before_prefect_kills_it(stack: Stack, runner: str) -> None:
    settings = {"ICANVAS_RUNNER": runner, "ICANVAS_WORKERS": "1"}
    run = stack.start("prepare/prepare", settings, source="long")
    shard = "extract long 00000"
    stack.until(run, lambda _: shard in stack.tasks(run))
    # By then pictures are on their way.
    time.sleep(5)
    assert len(stack.processes(run)) >= (2 if runner == "processes" else 1)
    if runner == "threads":
        busy = {"ICANVAS_WHEN_BUSY": "refuse"}
        refused = stack.ended(stack.start("prepare/prepare", busy, source="long"), "Failed")
        assert refused.state is not None
        assert "Another run is at work on long" in str(refused.state.message)
    stack.client.set_flow_run_state(run, Cancelling())
    asked = time.monotonic()
    stack.until(run, lambda found: found.state_name == "Cancelled")
    took = time.monotonic() - asked
    print(f"cancelled after {took:.1f} s with {runner}")
    # Its own last words: what has not ended after 30 s is killed, and says none.
    assert "Flow run was cancelled." in stack.log(run)
    assert not stack.processes(run)
    assert stack.parts("long") == 0, "it was over before it was cancelled"


def test_a_generator_is_trained_and_put_into_service(stack: Stack) -> None:
    small = {"epochs": 2, "image_size": 64, "generator_width": 4, "generator_blocks": 1}
    run = stack.start("train/train", source="tiny", recipe={**small, "discriminator_width": 4})
    stack.done(run)
    page = stack.artifacts(run)["run-tiny"]
    name = re.search(r"\| `(\w{12})/1` \| [\d.]+ \| \[epoch-0001\.pt\]\((http://\S+)\) \|", page)
    assert name
    # `icanvas up` shows the files of a store in a folder.
    assert httpx.get(name[2]).content == stack.store.get(
        f"models/tiny/{name[1]}/checkpoints/epoch-0001.pt"
    )
    for epoch in (1, 2):
        chosen = stack.start(
            "promote/promote", source="tiny", checkpoint=f"{name[1]}/{epoch}", note="a test"
        )
        assert stack.done(chosen).name == f"promote tiny: checkpoint {name[1]}/{epoch}"
    page = stack.artifacts(chosen)["promoted-tiny"]
    assert f"| in service | `{name[1]}/2` |" in page
    assert f"|  | `{name[1]}/1` |" in page
    assert page.count("data:image/jpeg") >= 2
    back = stack.start("rollback/rollback", source="tiny", note="worse")
    stack.done(back)
    served = read_promoted(stack.store, "tiny")
    assert served is not None
    assert (served.epoch, served.note) == (1, "worse")
    with pytest.raises(PrefectHTTPStatusError, match=r"409|422"):
        stack.start("promote/promote", source="tiny", checkpoint="../tiny/1")


def test_a_cancelled_training_run_keeps_a_checkpoint(stack: Stack) -> None:
    """And is cancelled from the start, never crashed: Prefect's handler has the signal."""
    sizes = {"generator_width": 4, "generator_blocks": 1, "discriminator_width": 4}
    recipe = {**sizes, "image_size": 64, "batch": 1, "epochs": 100_000, "checkpoint_every": 100_000}
    run = stack.start("train/train", source="tiny", recipe=recipe)
    # Its bar counts steps.
    stack.until(run, lambda _: (stack.artifacts(run).get("tiny-train") or 0) > 0)
    stack.client.set_flow_run_state(run, Cancelling())
    stack.until(run, lambda found: found.state_name == "Cancelled")
    states = [state.name for state in stack.client.read_flow_run_states(run)]
    assert states[-1] == "Cancelled"
    assert "Crashed" not in states
    kept = [key for key in stack.store.list("models/tiny") if "/checkpoints/step-" in key]
    assert len(kept) == 2


def test_a_schedule_fires(stack: Stack) -> None:
    given = stack.client.read_deployment_by_name("refresh-all/refresh-all")
    soon = datetime.now(UTC) + timedelta(seconds=15)
    every = IntervalSchedule(
        interval=timedelta(seconds=60), anchor_date=soon, timezone="Europe/Berlin"
    )
    (stack.folder / "tiny" / "new.png").write_bytes((stack.folder / "many/039.png").read_bytes())
    made = stack.client.create_deployment_schedules(
        given.id, [DeploymentScheduleCreate(schedule=every, active=True)]
    )
    try:
        run = _wait_for(
            stack, lambda it: it.deployment_id == given.id and it.start_time is not None
        )
        assert run.auto_scheduled
        stack.done(run.id)
    finally:
        stack.client.delete_deployment_schedule(given.id, made[0].id)
    table = json.loads(stack.artifacts(run.id)["refresh-all"])
    states = {row["data set"]: row["state"] for row in table}
    assert (states["tiny"], states["many"]) == ("new", "same")
    started = _wait_for(stack, lambda it: it.name == "prepare tiny: its files have changed")
    stack.done(started.id)
    current = read_current(stack.store, "tiny")
    assert current is not None and current.train is not None and current.val is not None
    assert current.train + current.val == 7


def test_a_run_asks_a_person(stack: Stack) -> None:
    given = stack.client.read_deployment_by_name("prepare/prepare")
    stack.client.create_deployment(
        stack.client.create_flow_from_name("ask"),
        "ask",
        work_pool_name="extract",
        entrypoint="tests/operations/asking.py:ask",
        pull_steps=given.pull_steps,
    )
    run = stack.start("ask/ask", options=["run-1", "run-2"])
    paused = stack.until(run, lambda found: found.state_name == "Paused")
    assert paused.state is not None
    keys: Any = paused.state.state_details.run_input_keyset
    form = json.loads(stack.client.read_flow_run_input(run, keys["schema"]))
    assert form["properties"]["choice"]["enum"] == ["run-1", "run-2", "none"]
    assert "| run-2 | 0.1 |" in stack.client.read_flow_run_input(run, keys["description"])
    answer = stack.client.resume_flow_run(run, run_input={"choice": "run-3"})
    assert answer.status.name == "REJECT", "what is not offered was taken"
    stack.client.resume_flow_run(run, run_input={"choice": "run-2"})
    stack.done(run)
    assert "chosen: run-2" in stack.log(run)


def test_a_person_chooses_a_checkpoint(stack: Stack) -> None:
    stack.done(stack.start("prepare/prepare", source="tiny"))
    keep_run(stack.store, "aaaa", 2, "tiny", _in_use(stack))
    run = stack.start("compare/compare", source="tiny", pictures=2, decide=True, reason="trial")
    paused = stack.until(run, lambda found: found.state_name == "Paused")
    assert paused.state is not None
    keys: Any = paused.state.state_details.run_input_keyset
    form = json.loads(stack.client.read_flow_run_input(run, keys["schema"]))
    offered = form["properties"]["choice"]["enum"]
    # The newest first, and what is in service among them.
    assert [*offered[:2], offered[-1]] == ["aaaa/2", "aaaa/1", "none"]
    served = read_promoted(stack.store, "tiny")
    assert served is not None and served.checkpoint in offered
    about = stack.client.read_flow_run_input(run, keys["description"])
    assert "| lines copied onto white |" in about and "/vote.html)" in about
    _check_picture(stack.artifacts(run)["comparison-tiny"])
    stack.client.resume_flow_run(run, run_input={"choice": "aaaa/1"})
    stack.done(run)
    served = read_promoted(stack.store, "tiny")
    assert served is not None
    assert (served.checkpoint, served.note, served.title) == ("aaaa/1", "trial", "A few scenes")
    assert "| in service | `aaaa/1` |" in stack.artifacts(run)["promoted-tiny"]


def test_the_run_of_the_dead_worker_can_be_retried(stack: Stack, seen: dict[str, Any]) -> None:
    run = seen["crashed"]
    crashed = stack.until(run, lambda it: it.state_name == "Crashed", patience=300)
    assert crashed.state is not None
    assert "silent for 90 s" in str(crashed.state.message)
    done = stack.parts("doomed")
    assert 0 < done < 20
    worker = stack.worker("doomed")
    try:
        # As the UI's *Retry* does.
        stack.client.set_flow_run_state(run, AwaitingRetry(), force=True)
        stack.done(run)
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(PATIENCE)
    assert read_current(stack.store, "doomed") is not None
    made = _shards_made(stack, run)
    assert made < 40 - done, "what was done was done again"


def test_stopping_leaves_no_process(stack: Stack) -> None:
    run = stack.start("extract/extract", source="many", edges={"threshold": 0.2})
    stack.until(run, stack.logged(run, "many 00000"))
    assert len(stack.processes()) >= 4
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(PATIENCE) == 0
    assert not stack.processes()


def _in_use(stack: Stack) -> str:
    current = read_current(stack.store, "tiny")
    assert current is not None
    return current.fingerprint


def _check_picture(page: str) -> None:
    found = re.search(r"\(data:image/jpeg;base64,([^)]+)\)", page)
    assert found
    data = np.frombuffer(base64.b64decode(found[1]), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[1] >= 500
    assert image.std() > 20


def _shards_made(stack: Stack, run: UUID) -> int:
    return sum(bool(re.search(r" \d{5}: \d+ pairs", line)) for line in stack.log(run))


def _wait_for(stack: Stack, wanted: Callable[[FlowRun], bool]) -> FlowRun:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for run in stack.client.read_flow_runs():
            if wanted(run):
                return run
        time.sleep(0.5)
    pytest.fail("no such run")
