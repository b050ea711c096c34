"""SIGTERM during training: a checkpoint within the grace period, and a run that goes on from it."""

import random
import re
import signal
import subprocess
import threading
import time
from contextlib import suppress

import pytest

from tests.faults.conftest import Make, Table
from tests.faults.environment import EACH_PAIR, Calm, at_moment, compare
from tests.faults.faulty_proxy import Fault, Request

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
    # A pair is read for each step; the first ones of validation tell the end of an epoch. Drawings
    # are traced before the first step, and no checkpoint tells of that.
    pattern = r"GET datasets/.*/pairs/.*\.tar"
    count, traced = calm.count("train", pattern), calm.count_until("train", pattern, "/strokes-")
    strikes, seconds = chance.randrange(traced, count), chance.uniform(0.01, 0.2)
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
    runs = 1 + world.run_until_done(*words, **EACH_PAIR)
    # No pair was learned from again, or left out.
    learned = r"GET datasets/.*/pairs/.*/train-\d+\.tar"
    if processes == 1:
        asked = sum(map(world.matcher(learned), world.line.requests))
        assert asked == calm.count("train", learned), world.log
    # Two processes add in another order than one, so that the last bits are others.
    outcome = compare(world, calm, ("datasets", "models") if processes == 1 else ("datasets",))
    done = [{key for key in hashes if "models/" in key} for hashes in (world.hashes(), calm.hashes)]
    assert done[0] == done[1]
    moment = f"at pair {strikes + 1} of {count}; ended after {took:.1f} s"
    shared = f" in {processes} processes" if processes > 1 else ""
    table.add(f"{number.name} during training{shared}", moment, runs, outcome)


def test_a_run_that_waits_for_the_store_is_stopped(
    make_world: Make, calm: Calm, table: Table, chance: random.Random
) -> None:
    """No checkpoint gets into the store: what is not there is kept here, and pushed by the next."""
    world = make_world()
    world.copy_from(calm.world, "datasets")
    seconds = chance.uniform(0, 15)
    started: list[subprocess.Popen[str]] = []
    sent: list[float] = []
    matches = world.matcher(r"(PUT|POST) models/.*/checkpoints/")

    def send() -> None:
        sent.append(time.monotonic())
        started[0].send_signal(signal.SIGTERM)

    later = threading.Timer(seconds, send)

    def hang(request: Request) -> Fault | None:
        if not matches(request):
            return None
        with suppress(RuntimeError):  # it was started by the first
            later.start()
        return Fault("hang")

    world.line.fault = hang
    started.append(world.start("train", "tiny"))
    code = world.end(started[0])
    took = time.monotonic() - sent[0]
    assert code == -signal.SIGTERM, world.log
    assert took < GRACE
    assert "the store does not take its files" in world.log[-1]
    world.line.fault = lambda _: None
    runs = 1 + world.run_until_done("train", "tiny")
    outcome = compare(world, calm, ("datasets", "models"))
    moment = f"{seconds:.1f} s after the first upload hung; ended after {took:.1f} s"
    table.add("SIGTERM while S3 takes no checkpoint", moment, runs, outcome)
