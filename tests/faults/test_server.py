"""An S3 server that crashes, returns errors, hangs, or resets connections."""

import random
import threading
import time
from pathlib import Path

import pytest

from tests.faults.conftest import MakeEnvironment, OutcomeTable
from tests.faults.environment import (
    COMMAND_TIMEOUT_S,
    NO_SHARD_CACHE,
    Baseline,
    Environment,
    compare_with_baseline,
    fault_at_request,
)
from tests.faults.faulty_proxy import Fault, FaultKind, ProxiedRequest
from tests.s3 import running_s3

# Seconds. The client retries for about a quarter of a minute: some outages are longer.
OUTAGE = (0.5, 25.0)


@pytest.mark.parametrize(
    ("command", "what", "pattern"),
    [
        ("prepare", "extract", r"(GET .*/raw/\w+/\d+|PUT .*/pairs/.*(\.tar|/parts/.*))"),
        ("train", "a checkpoint's upload", r"(PUT|POST) models/.*/checkpoints/"),
    ],
)
def test_server_is_killed_and_restarted(
    make_environment: MakeEnvironment,
    baseline: Baseline,
    table: OutcomeTable,
    rng: random.Random,
    tmp_path: Path,
    command: str,
    what: str,
    pattern: str,
) -> None:
    count = baseline.count_requests(command, pattern)
    number, seconds = rng.randrange(count), rng.uniform(*OUTAGE)
    with running_s3(tmp_path) as own_server:
        environment = make_environment(own_server)
        if command == "train":
            environment.copy_from(baseline.environment, "datasets")
        back = threading.Event()

        def fall() -> None:
            own_server.kill()

            def rise() -> None:
                own_server.start()
                back.set()

            threading.Timer(seconds, rise).start()

        kind: FaultKind = rng.choice(("reset", "truncate"))
        environment.proxy.fault = fault_at_request(
            environment.matcher(pattern), number, Fault(kind, fall)
        )
        code = environment.wait(environment.start(command, "tiny"))
        assert back.wait(60)
        runs = 1
        if code:
            environment.check_error(code)
            runs += environment.run_until_success(command, "tiny")
        outcome = compare_with_baseline(
            environment, baseline, ("datasets", "models")[: 1 + (command == "train")]
        )
    moment = f"{what}, request {number + 1} of {count}, for {seconds:.1f} s"
    table.add("S3 server killed and started again", moment, runs, outcome)


def run_both_commands(environment: Environment) -> int:
    return max(
        environment.run_until_success("prepare", "tiny"),
        environment.run_until_success("train", "tiny"),
    )


def test_every_third_request_gets_an_error(
    make_environment: MakeEnvironment, baseline: Baseline, table: OutcomeTable, rng: random.Random
) -> None:
    environment, first = make_environment(), rng.randrange(3)

    def every_third(request: ProxiedRequest) -> Fault | None:
        status = rng.choice((500, 503))
        return Fault("status", status=status) if request.number % 3 == first else None

    environment.proxy.fault = every_third
    runs = run_both_commands(environment)
    outcome = compare_with_baseline(environment, baseline, ("datasets", "models"))
    table.add(
        "S3 answers 500 or 503 to every third request",
        f"starting with request {first + 1}",
        runs,
        outcome,
    )


def test_connections_are_reset(
    make_environment: MakeEnvironment, baseline: Baseline, table: OutcomeTable, rng: random.Random
) -> None:
    environment = make_environment()

    def reset_some(request: ProxiedRequest) -> Fault | None:
        return Fault(rng.choice(("reset", "truncate", "lost"))) if rng.random() < 0.2 else None

    environment.proxy.fault = reset_some
    runs = run_both_commands(environment)
    outcome = compare_with_baseline(environment, baseline, ("datasets", "models"))
    table.add(
        "S3 connections reset", "one in five requests: before, during or after it", runs, outcome
    )


def test_hanging_upload_is_retried(
    make_environment: MakeEnvironment, baseline: Baseline, table: OutcomeTable, rng: random.Random
) -> None:
    """The client times out and sends the request again.

    The timeout is 5 s for a body that is not accepted, and 60 s for a missing response.
    """
    pattern = r"(PUT|POST) models/.*/checkpoints/"
    environment, count = make_environment(), baseline.count_requests("train", pattern)
    environment.copy_from(baseline.environment, "datasets")
    number = rng.randrange(count)
    strike, hung = fault_at_request(environment.matcher(pattern), number, Fault("hang")), []

    def hang(request: ProxiedRequest) -> Fault | None:
        fault = strike(request)
        if fault is not None:
            hung.append((request.method, request.key, request.query))
        return fault

    environment.proxy.fault = hang
    start = time.monotonic()
    assert environment.wait(environment.start("train", "tiny")) == 0, environment.log
    elapsed = time.monotonic() - start
    sent_requests = [(it.method, it.key, it.query) for it in environment.proxy.requests]
    assert sent_requests.count(hung[0]) == 2, "the hanging request was not sent again"
    outcome = compare_with_baseline(environment, baseline, ("datasets", "models"))
    moment = f"request {number + 1} of {count} of a checkpoint's upload; done after {elapsed:.0f} s"
    table.add("S3 server hangs", moment, 1, outcome)


@pytest.mark.parametrize(
    ("kind", "command", "pattern", "what"),
    [
        ("hang", "prepare", r"(PUT|GET|HEAD) .*", "before a response"),
        ("stall", "train", r"GET .*/pairs/.*\.(tar|parquet)", "within a response"),
    ],
)
def test_command_times_out_on_a_silent_server(
    make_environment: MakeEnvironment,
    baseline: Baseline,
    table: OutcomeTable,
    rng: random.Random,
    kind: FaultKind,
    command: str,
    pattern: str,
    what: str,
) -> None:
    """From some request on the server does not respond: the command ends with an error."""
    environment = make_environment()
    if command == "train":
        environment.copy_from(baseline.environment, "datasets")
    matches = environment.matcher(pattern)
    number = rng.randrange(baseline.count_requests(command, pattern))
    matched: list[ProxiedRequest] = []

    def hang_from(request: ProxiedRequest) -> Fault | None:
        if matches(request):
            matched.append(request)
            return Fault(kind) if len(matched) > number else None
        return None

    environment.proxy.fault = hang_from
    start = time.monotonic()
    # One attempt a request, because five take five times as long.
    code = environment.wait(
        environment.start(command, "tiny", AWS_MAX_ATTEMPTS="1", **NO_SHARD_CACHE),
        2 * COMMAND_TIMEOUT_S,
    )
    elapsed = time.monotonic() - start
    environment.check_error(code)
    assert "does not answer" in environment.log[-1]
    environment.proxy.fault = lambda _: None
    runs = 1 + environment.run_until_success(command, "tiny")
    outcome = compare_with_baseline(
        environment, baseline, ("datasets", "models")[: 1 + (command == "train")]
    )
    moment = f"{what}, from request {number + 1} on; given up after {elapsed:.0f} s"
    table.add("S3 server hangs", moment, runs, outcome)
