"""A clock that is set back between two runs."""

import random
import shutil
import subprocess

import pytest

from tests.faults.conftest import Make, Table
from tests.faults.environment import Calm, at_moment, compare, killer
from tests.faults.faulty_proxy import Fault


@pytest.mark.skipif(shutil.which("faketime") is None, reason="apt install faketime")
def test_the_clock_is_set_back(
    make_world: Make, calm: Calm, table: Table, chance: random.Random
) -> None:
    world = make_world()
    pattern = r"PUT .*/pairs/.*/parts/"
    number = chance.randrange(calm.count("prepare", pattern))
    started: list[subprocess.Popen[str]] = []
    strike = Fault("lost", killer(lambda: started[0]))
    world.line.fault = at_moment(world.matcher(pattern), number, strike)
    started.append(world.start("prepare", "tiny"))
    assert world.end(started[0]) == -9, world.log
    world.line.fault = lambda _: None
    # S3 refuses requests that are more than 15 minutes off.
    minutes = chance.randrange(1, 15)
    back = world.start(
        *("prepare", "tiny"),
        before=("faketime", "-f", f"-{minutes}m"),
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    assert world.end(back) == 0, world.log
    outcome = compare(world, calm, ("datasets",))
    moment = f"by {minutes} min, after a kill in extract"
    table.add("Clock set back", moment, 2, outcome)
