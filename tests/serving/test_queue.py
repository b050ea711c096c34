import threading
from concurrent.futures import CancelledError

import pytest

from serving.errors import Refusal
from serving.metrics import Metrics
from serving.queue import Job, Task, Work
from tests.serving.live_server import wait_until


class Held:
    """Work that ends when it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, job: Job) -> bytes:
        self.begun.set()
        assert self.go.wait(30)
        job.end_stage("network")
        return b"done"


def test_jobs_are_done_in_turn_and_timed() -> None:
    work = Work(1, 5, Metrics())

    def say(number: int) -> Task:
        return lambda _job: b"%d" % number

    jobs = [work.submit(say(number)) for number in range(5)]
    assert [job.future.result(30) for job in jobs] == [b"0", b"1", b"2", b"3", b"4"]
    assert jobs[-1].stages["queue"] >= 0
    work.close()


def test_a_full_queue_refuses_and_tells_when_to_come_back() -> None:
    metrics = Metrics()
    work = Work(1, 2, metrics)
    held = Held()
    first = work.submit(held)
    assert held.begun.wait(30)
    waiting = [work.submit(lambda _job: b"") for _ in range(2)]
    with pytest.raises(Refusal) as refused:
        work.submit(lambda _job: b"")
    assert refused.value.code == "busy"
    assert refused.value.retry_after is not None and 1 <= refused.value.retry_after <= 60
    with pytest.raises(Refusal):
        work.check_room()
    assert metrics.waiting._value.get() == 2
    held.go.set()
    assert first.future.result(30) == b"done"
    for job in waiting:
        job.future.result(30)
    work.check_room()
    work.close()


def test_what_nobody_waits_for_is_not_begun() -> None:
    work = Work(1, 2, Metrics())
    held, never = Held(), Held()
    work.submit(held)
    assert held.begun.wait(30)
    unwanted = work.submit(never)
    work.cancel(unwanted)
    # Its place is free at once.
    jobs = [work.submit(lambda _job: b"x") for _ in range(2)]
    held.go.set()
    assert [job.future.result(30) for job in jobs] == [b"x", b"x"]
    assert not never.begun.is_set()
    work.close()


def test_what_nobody_waits_for_any_more_ends_after_its_stage() -> None:
    work = Work(1, 2, Metrics())
    held = Held()
    job = work.submit(held)
    assert held.begun.wait(30)
    work.cancel(job)
    held.go.set()
    with pytest.raises(CancelledError):
        job.future.result(30)
    work.close()


def test_an_error_is_the_jobs_own() -> None:
    def fail(_job: Job) -> bytes:
        raise ValueError("broken")

    work = Work(1, 2, Metrics())
    with pytest.raises(ValueError, match="broken"):
        work.submit(fail).future.result(30)
    assert work.submit(lambda _job: b"x").future.result(30) == b"x"
    work.close()


def test_the_end_finishes_what_was_taken_and_takes_nothing() -> None:
    work = Work(2, 5, Metrics())
    held = Held()
    jobs = [work.submit(held) for _ in range(5)]
    assert held.begun.wait(30)
    closing = threading.Thread(target=work.close)
    closing.start()
    wait_until(lambda: work._closing)
    with pytest.raises(Refusal):
        work.submit(held)
    held.go.set()
    assert {job.future.result(30) for job in jobs} == {b"done"}
    closing.join(30)
    assert not closing.is_alive()
