"""SIGTERM during training: a checkpoint within the grace period, and a run that goes on from it."""

import random
import re
import signal
import subprocess
import threading
import time

import pytest

from tests.faults.conftest import Make, Table
from tests.faults.line import Fault
from tests.faults.world import EACH_PAIR, Calm, at_moment, compare

# What supervisors give, Prefect's worker and Kubernetes among them.
GRACE = 30


@pytest.mark.parametrize(
    ("number", "processes"), [(signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGTERM, 2)]
)
def test_training_is_stopped(
    make_world: Make,
    calm: Calm,
    table: Table,
    chance: random.Random,
    number: signal.Signals,
    processes: int,
) -> None:
    world = make_world()
    world.copy_from(calm.world, "datasets")
    # A pair is read for each step; the first ones of validation tell the end of an epoch.
    pattern = r"GET datasets/.*/pairs/.*\.tar"
    count = calm.count("train", pattern)
    strikes, seconds = chance.randrange(count), chance.uniform(0.01, 0.2)
    started: list[subprocess.Popen[str]] = []
    sent: list[float] = []

    def send() -> None:
        sent.append(time.monotonic())
        started[0].send_signal(number)

    later = threading.Timer(seconds, send)
    world.line.fault = at_moment(world.matcher(pattern), strikes, Fault("none", later.start))
    words = ("train", "tiny", "--processes", str(processes))
    started.append(world.start(*words, **EACH_PAIR))
    code = world.end(started[0])
    took = time.monotonic() - sent[0]
    assert code == (-number if number == signal.SIGTERM else 130), world.log
    assert took < GRACE
    kept = [key for key in world.hashes() if re.search(r"/checkpoints/\S+\.json", key)]
    assert kept, "no checkpoint is there to go on from"
    world.line.fault = lambda _: None
    runs = 1 + world.run_until_done(*words)
    # Two processes add in another order than one, so that the last bits are others.
    outcome = compare(world, calm, ("datasets", "models") if processes == 1 else ("datasets",))
    done = [{key for key in hashes if "models/" in key} for hashes in (world.hashes(), calm.hashes)]
    assert done[0] == done[1]
    moment = f"at pair {strikes + 1} of {count}; ended after {took:.1f} s"
    shared = f" in {processes} processes" if processes > 1 else ""
    table.add(f"{number.name} during training{shared}", moment, runs, outcome)
