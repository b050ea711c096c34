"""``kill -9`` of the flow at random moments of every stage."""

import random
import subprocess

import pytest

from tests.faults.conftest import MakeEnvironment, OutcomeTable
from tests.faults.environment import Baseline, compare_with_baseline, fault_at_request, make_killer
from tests.faults.faulty_proxy import Fault, FaultKind

# Requests to the store of each stage, with the reads of stages that read first.
STAGES = {
    "acquire": r"PUT .*/raw/",
    "extract": r"(GET .*/raw/\w+/(parts/)?\d+|PUT .*/pairs/.*(\.tar|/parts/.*))",
    "publish": r"(PUT .*/pairs/.*(settings|manifest|sheet|report|current)|GET .*/pairs/.*tar)",
    "training": r"PUT models/.*/(recipe|samples|metrics)",
    "checkpoint upload": r"(PUT|POST) models/.*/checkpoints/",
}
PHASES: dict[str, FaultKind] = {
    "before": "reset",
    "in the middle of": "truncate",
    "before the response to": "lost",
    "shortly after": "none",
}


@pytest.mark.parametrize("stage", STAGES)
def test_flow_is_killed(
    make_environment: MakeEnvironment,
    baseline: Baseline,
    table: OutcomeTable,
    rng: random.Random,
    stage: str,
) -> None:
    environment = make_environment()
    trains = stage in ("training", "checkpoint upload")
    command = "train" if trains else "prepare"
    if trains:
        environment.copy_from(baseline.environment, "datasets")
    count = baseline.count_requests(command, STAGES[stage])
    number, phase = rng.randrange(count), rng.choice(list(PHASES))
    seconds = rng.uniform(0.01, 0.3) if phase == "shortly after" else 0
    started: list[subprocess.Popen[str]] = []
    environment.proxy.fault = fault_at_request(
        environment.matcher(STAGES[stage]),
        number,
        Fault(PHASES[phase], make_killer(lambda: started[0], seconds)),
    )
    started.append(environment.start(command, "tiny"))
    assert environment.wait(started[0]) == -9, environment.log
    environment.proxy.fault = lambda _: None
    runs = 1 + environment.run_until_success(command, "tiny")
    outcome = compare_with_baseline(
        environment, baseline, ("datasets", "models") if trains else ("datasets",)
    )
    moment = f"{stage}, {phase} request {number + 1} of {count}"
    table.add("`kill -9` of the flow", moment, runs, outcome)
