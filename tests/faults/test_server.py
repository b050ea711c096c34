"""An S3 server that dies, is unwell, says nothing, or tears its connections."""

import random
import threading
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Make, Table
from tests.faults.environment import EACH_PAIR, LONGEST, Calm, World, at_moment, compare
from tests.faults.faulty_proxy import Fault, Kind, Request
from tests.s3 import running_s3

# The client is patient for about a quarter of a minute: some outages are longer.
OUTAGE = (0.5, 25.0)


@pytest.mark.parametrize(
    ("command", "what", "pattern"),
    [
        ("prepare", "extract", r"(GET .*/raw/\w+/\d+|PUT .*/pairs/.*(\.tar|/parts/.*))"),
        ("train", "a checkpoint's upload", r"(PUT|POST) models/.*/checkpoints/"),
    ],
)
def test_the_server_is_killed_and_comes_back(
    make_world: Make,
    calm: Calm,
    table: Table,
    chance: random.Random,
    tmp_path: Path,
    command: str,
    what: str,
    pattern: str,
) -> None:
    count = calm.count(command, pattern)
    number, seconds = chance.randrange(count), chance.uniform(*OUTAGE)
    with running_s3(tmp_path) as own:
        world = make_world(own)
        if command == "train":
            world.copy_from(calm.world, "datasets")
        back = threading.Event()

        def fall() -> None:
            own.kill()

            def rise() -> None:
                own.start()
                back.set()

            threading.Timer(seconds, rise).start()

        kind: Kind = chance.choice(("reset", "half"))
        world.line.fault = at_moment(world.matcher(pattern), number, Fault(kind, fall))
        code = world.end(world.start(command, "tiny"))
        assert back.wait(60)
        runs = 1
        if code:
            world.check_error(code)
            runs += world.run_until_done(command, "tiny")
        outcome = compare(world, calm, ("datasets", "models")[: 1 + (command == "train")])
    moment = f"{what}, request {number + 1} of {count}, for {seconds:.1f} s"
    table.add("S3 server killed and started again", moment, runs, outcome)


def both(world: World) -> int:
    return max(world.run_until_done("prepare", "tiny"), world.run_until_done("train", "tiny"))


def test_every_third_request_gets_an_error(
    make_world: Make, calm: Calm, table: Table, chance: random.Random
) -> None:
    world, first = make_world(), chance.randrange(3)

    def every_third(request: Request) -> Fault | None:
        status = chance.choice((500, 503))
        return Fault("status", status=status) if request.number % 3 == first else None

    world.line.fault = every_third
    runs = both(world)
    outcome = compare(world, calm, ("datasets", "models"))
    table.add("S3 answers 500 or 503 to every third request", f"from the {first}.", runs, outcome)


def test_connections_are_reset(
    make_world: Make, calm: Calm, table: Table, chance: random.Random
) -> None:
    world = make_world()

    def some_are_torn(request: Request) -> Fault | None:
        return Fault(chance.choice(("reset", "half", "lost"))) if chance.random() < 0.2 else None

    world.line.fault = some_are_torn
    runs = both(world)
    outcome = compare(world, calm, ("datasets", "models"))
    table.add("S3 connections reset", "one in five, before, within and after", runs, outcome)


def test_an_upload_that_hangs_is_begun_again(
    make_world: Make, calm: Calm, table: Table, chance: random.Random
) -> None:
    """The client's own timeout ends the request, and sends it again.

    Of a body that is not taken that is after five seconds, of an answer that does not come after
    sixty.
    """
    pattern = r"(PUT|POST) models/.*/checkpoints/"
    world, count = make_world(), calm.count("train", pattern)
    world.copy_from(calm.world, "datasets")
    number = chance.randrange(count)
    strike, struck = at_moment(world.matcher(pattern), number, Fault("hang")), []

    def hang(request: Request) -> Fault | None:
        fault = strike(request)
        if fault is not None:
            struck.append((request.method, request.key, request.query))
        return fault

    world.line.fault = hang
    began = time.monotonic()
    assert world.end(world.start("train", "tiny")) == 0, world.log
    took = time.monotonic() - began
    asked = [(it.method, it.key, it.query) for it in world.line.requests]
    assert asked.count(struck[0]) == 2, "what hung was not sent again"
    outcome = compare(world, calm, ("datasets", "models"))
    moment = f"request {number + 1} of {count} of a checkpoint's upload; done after {took:.0f} s"
    table.add("S3 server hangs", moment, 1, outcome)


@pytest.mark.parametrize(
    ("kind", "command", "pattern", "what"),
    [
        ("hang", "prepare", r"(PUT|GET|HEAD) .*", "before an answer"),
        ("stall", "train", r"GET .*/pairs/.*\.(tar|parquet)", "within an answer"),
    ],
)
def test_a_silent_server_is_given_up(
    make_world: Make,
    calm: Calm,
    table: Table,
    chance: random.Random,
    kind: Kind,
    command: str,
    pattern: str,
    what: str,
) -> None:
    """From some request on nothing is answered: timeouts end the run, with an error."""
    world = make_world()
    if command == "train":
        world.copy_from(calm.world, "datasets")
    matches = world.matcher(pattern)
    number = chance.randrange(calm.count(command, pattern))
    seen: list[Request] = []

    def silent_from(request: Request) -> Fault | None:
        if matches(request):
            seen.append(request)
            return Fault(kind) if len(seen) > number else None
        return None

    world.line.fault = silent_from
    began = time.monotonic()
    # One attempt a request: with five it takes five times as long, no more.
    code = world.end(world.start(command, "tiny", AWS_MAX_ATTEMPTS="1", **EACH_PAIR), 2 * LONGEST)
    took = time.monotonic() - began
    world.check_error(code)
    assert "does not answer" in world.log[-1]
    world.line.fault = lambda _: None
    runs = 1 + world.run_until_done(command, "tiny")
    outcome = compare(world, calm, ("datasets", "models")[: 1 + (command == "train")])
    moment = f"{what}, from request {number + 1} on; given up after {took:.0f} s"
    table.add("S3 server hangs", moment, runs, outcome)
