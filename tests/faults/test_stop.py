"""SIGTERM during training: a checkpoint within the grace period, from which the run resumes."""

import random
import re
import signal
import subprocess
import threading
import time
from contextlib import suppress

import pytest

from tests.faults.conftest import MakeEnvironment, OutcomeTable
from tests.faults.environment import (
    NO_SHARD_CACHE,
    Baseline,
    compare_with_baseline,
    fault_at_request,
)
from tests.faults.faulty_proxy import Fault, ProxiedRequest

# Seconds that Prefect's worker and Kubernetes give by default.
GRACE = 30


@pytest.mark.parametrize(
    ("number", "processes"), [(signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGTERM, 2)]
)
def test_training_is_stopped(
    make_environment: MakeEnvironment,
    baseline: Baseline,
    table: OutcomeTable,
    rng: random.Random,
    number: signal.Signals,
    processes: int,
) -> None:
    environment = make_environment()
    environment.copy_from(baseline.environment, "datasets")
    # Each step reads a pair, and validation reads pairs at an epoch's end. Strokes are traced
    # before the first step; stopping there saves no checkpoint.
    pattern = r"GET datasets/.*/pairs/.*\.tar"
    count, first = (
        baseline.count_requests("train", pattern),
        baseline.count_requests_until("train", pattern, "/strokes-"),
    )
    index, seconds = rng.randrange(first, count), rng.uniform(0.01, 0.2)
    started: list[subprocess.Popen[str]] = []
    signal_times: list[float] = []

    def send() -> None:
        signal_times.append(time.monotonic())
        started[0].send_signal(number)

    timer = threading.Timer(seconds, send)
    environment.proxy.fault = fault_at_request(
        environment.matcher(pattern), index, Fault("none", timer.start)
    )
    arguments = ("train", "tiny", "--processes", str(processes))
    started.append(environment.start(*arguments, **NO_SHARD_CACHE))
    code = environment.wait(started[0])
    elapsed = time.monotonic() - signal_times[0]
    assert code == (-number if number == signal.SIGTERM else 130), environment.log
    assert elapsed < GRACE
    checkpoints = [
        key for key in environment.hash_objects() if re.search(r"/checkpoints/\S+\.json", key)
    ]
    assert checkpoints, "no checkpoint was saved"
    environment.proxy.fault = lambda _: None
    runs = 1 + environment.run_until_success(*arguments, **NO_SHARD_CACHE)
    # Each pair was read exactly once an epoch.
    training_reads = r"GET datasets/.*/pairs/.*/train-\d+\.tar"
    if processes == 1:
        num_reads = sum(map(environment.matcher(training_reads), environment.proxy.requests))
        assert num_reads == baseline.count_requests("train", training_reads), environment.log
    # Two processes sum in another order, so the last bits differ.
    outcome = compare_with_baseline(
        environment, baseline, ("datasets", "models") if processes == 1 else ("datasets",)
    )
    model_keys = [
        {key for key in hashes if "models/" in key}
        for hashes in (environment.hash_objects(), baseline.hashes)
    ]
    assert model_keys[0] == model_keys[1]
    moment = f"at pair {index + 1} of {count}; ended after {elapsed:.1f} s"
    suffix = f" in {processes} processes" if processes > 1 else ""
    table.add(f"{number.name} during training{suffix}", moment, runs, outcome)


def test_run_that_waits_for_uploads_is_stopped(
    make_environment: MakeEnvironment, baseline: Baseline, table: OutcomeTable, rng: random.Random
) -> None:
    """Checkpoints that the store did not take stay on this machine; the next run uploads them."""
    environment = make_environment()
    environment.copy_from(baseline.environment, "datasets")
    seconds = rng.uniform(0, 15)
    started: list[subprocess.Popen[str]] = []
    signal_times: list[float] = []
    matches = environment.matcher(r"(PUT|POST) models/.*/checkpoints/")

    def send() -> None:
        signal_times.append(time.monotonic())
        started[0].send_signal(signal.SIGTERM)

    timer = threading.Timer(seconds, send)

    def hang(request: ProxiedRequest) -> Fault | None:
        if not matches(request):
            return None
        with suppress(RuntimeError):  # already started
            timer.start()
        return Fault("hang")

    environment.proxy.fault = hang
    started.append(environment.start("train", "tiny"))
    code = environment.wait(started[0])
    elapsed = time.monotonic() - signal_times[0]
    assert code == -signal.SIGTERM, environment.log
    assert elapsed < GRACE
    assert "uploads fail and are retried" in environment.log[-1]
    environment.proxy.fault = lambda _: None
    runs = 1 + environment.run_until_success("train", "tiny")
    outcome = compare_with_baseline(environment, baseline, ("datasets", "models"))
    moment = f"{seconds:.1f} s after the first upload hung; ended after {elapsed:.1f} s"
    table.add("SIGTERM while S3 takes no checkpoint", moment, runs, outcome)
