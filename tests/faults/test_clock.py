"""A clock that is set back between two runs."""

import random
import shutil
import subprocess

import pytest

from tests.faults.conftest import MakeEnvironment, OutcomeTable
from tests.faults.environment import Baseline, compare_with_baseline, fault_at_request, make_killer
from tests.faults.faulty_proxy import Fault


@pytest.mark.skipif(shutil.which("faketime") is None, reason="apt install faketime")
def test_clock_is_set_back(
    make_environment: MakeEnvironment, baseline: Baseline, table: OutcomeTable, rng: random.Random
) -> None:
    environment = make_environment()
    pattern = r"PUT .*/pairs/.*/parts/"
    number = rng.randrange(baseline.count_requests("prepare", pattern))
    started: list[subprocess.Popen[str]] = []
    strike = Fault("lost", make_killer(lambda: started[0]))
    environment.proxy.fault = fault_at_request(environment.matcher(pattern), number, strike)
    started.append(environment.start("prepare", "tiny"))
    assert environment.wait(started[0]) == -9, environment.log
    environment.proxy.fault = lambda _: None
    # S3 rejects requests whose time differs by more than 15 minutes.
    minutes = rng.randrange(1, 15)
    process = environment.start(
        *("prepare", "tiny"),
        wrapper=("faketime", "-f", f"-{minutes}m"),
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    assert environment.wait(process) == 0, environment.log
    outcome = compare_with_baseline(environment, baseline, ("datasets",))
    moment = f"by {minutes} min, after a kill in extract"
    table.add("Clock set process", moment, 2, outcome)
