"""``kill -9`` of the flow, at any moment of any stage."""

import random
import subprocess

import pytest

from tests.faults.conftest import Make, Table
from tests.faults.environment import Calm, at_moment, compare, killer
from tests.faults.faulty_proxy import Fault, Kind

# What a stage asks of the store; reading is part of it where a stage reads first.
STAGES = {
    "acquire": r"PUT .*/raw/",
    "extract": r"(GET .*/raw/\w+/(parts/)?\d+|PUT .*/pairs/.*(\.tar|/parts/.*))",
    "publish": r"(PUT .*/pairs/.*(settings|manifest|sheet|report|current)|GET .*/pairs/.*tar)",
    "training": r"PUT models/.*/(recipe|samples|metrics)",
    "checkpoint upload": r"(PUT|POST) models/.*/checkpoints/",
}
PHASES: dict[str, Kind] = {
    "before": "reset",
    "in the middle of": "half",
    "done, unanswered": "lost",
    "shortly after": "none",
}


@pytest.mark.parametrize("stage", STAGES)
def test_the_flow_is_killed(
    make_world: Make, calm: Calm, table: Table, chance: random.Random, stage: str
) -> None:
    world = make_world()
    trains = stage in ("training", "checkpoint upload")
    command = "train" if trains else "prepare"
    if trains:
        world.copy_from(calm.world, "datasets")
    count = calm.count(command, STAGES[stage])
    number, phase = chance.randrange(count), chance.choice(list(PHASES))
    seconds = chance.uniform(0.01, 0.3) if phase == "shortly after" else 0
    started: list[subprocess.Popen[str]] = []
    world.line.fault = at_moment(
        world.matcher(STAGES[stage]),
        number,
        Fault(PHASES[phase], killer(lambda: started[0], seconds)),
    )
    started.append(world.start(command, "tiny"))
    assert world.end(started[0]) == -9, world.log
    world.line.fault = lambda _: None
    runs = 1 + world.run_until_done(command, "tiny")
    outcome = compare(world, calm, ("datasets", "models") if trains else ("datasets",))
    moment = f"{stage}, {phase} request {number + 1} of {count}"
    table.add("`kill -9` of the flow", moment, runs, outcome)
