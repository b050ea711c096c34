import socket
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import httpx
import pytest

from serving.errors import ApiError
from serving.metrics import ServerMetrics
from serving.queue import QueuedRequest, Task, RequestQueue
from storage import LocalStore
from tests.serving.exports import export_random_generator, promote
from tests.serving.hostile import VALID_BODIES
from tests.serving.live_server import GENERATE, PNG, GeneratorBlocker, is_error, run_test_server, wait_until


class BlockingTask:
    """Work that ends when it is let go."""

    def __init__(self) -> None:
        self.started, self.released = threading.Event(), threading.Event()

    def __call__(self, job: QueuedRequest) -> bytes:
        self.started.set()
        assert self.released.wait(30)
        job.end_stage("network")
        return b"done"


def test_jobs_are_done_in_turn_and_timed() -> None:
    work = RequestQueue(1, 5, ServerMetrics())

    def say(number: int) -> Task:
        return lambda _job: b"%d" % number

    jobs = [work.submit(say(number)) for number in range(5)]
    assert [job.future.result(30) for job in jobs] == [b"0", b"1", b"2", b"3", b"4"]
    assert jobs[-1].stages["queue"] >= 0
    work.close()


def test_a_full_queue_refuses_and_tells_when_to_come_back() -> None:
    metrics = ServerMetrics()
    work = RequestQueue(1, 2, metrics)
    held = BlockingTask()
    first = work.submit(held)
    assert held.started.wait(30)
    waiting = [work.submit(lambda _job: b"") for _ in range(2)]
    with pytest.raises(ApiError) as refused:
        work.submit(lambda _job: b"")
    assert refused.value.code == "busy"
    assert refused.value.retry_after is not None and 1 <= refused.value.retry_after <= 60
    with pytest.raises(ApiError):
        work.check_capacity()
    assert metrics.queue_length._value.get() == 2
    held.released.set()
    assert first.future.result(30) == b"done"
    for job in waiting:
        job.future.result(30)
    work.check_capacity()
    work.close()


def test_what_nobody_waits_for_is_not_begun() -> None:
    work = RequestQueue(1, 2, ServerMetrics())
    held, never = BlockingTask(), BlockingTask()
    work.submit(held)
    assert held.started.wait(30)
    unwanted = work.submit(never)
    work.cancel(unwanted)
    # Its place is free at once.
    jobs = [work.submit(lambda _job: b"x") for _ in range(2)]
    held.released.set()
    assert [job.future.result(30) for job in jobs] == [b"x", b"x"]
    assert not never.started.is_set()
    work.close()


def test_what_nobody_waits_for_any_more_ends_after_its_stage() -> None:
    work = RequestQueue(1, 2, ServerMetrics())
    held = BlockingTask()
    job = work.submit(held)
    assert held.started.wait(30)
    work.cancel(job)
    held.released.set()
    with pytest.raises(CancelledError):
        job.future.result(30)
    work.close()


def test_an_error_is_the_jobs_own() -> None:
    def fail(_job: QueuedRequest) -> bytes:
        raise ValueError("broken")

    work = RequestQueue(1, 2, ServerMetrics())
    with pytest.raises(ValueError, match="broken"):
        work.submit(fail).future.result(30)
    assert work.submit(lambda _job: b"x").future.result(30) == b"x"
    work.close()


def test_the_end_finishes_what_was_taken_and_takes_nothing() -> None:
    work = RequestQueue(2, 5, ServerMetrics())
    held = BlockingTask()
    jobs = [work.submit(held) for _ in range(5)]
    assert held.started.wait(30)
    closing = threading.Thread(target=work.close)
    closing.start()
    wait_until(lambda: work._closing)
    with pytest.raises(ApiError):
        work.submit(held)
    held.released.set()
    assert {job.future.result(30) for job in jobs} == {b"done"}
    closing.join(30)
    assert not closing.is_alive()


def test_a_full_queue_says_when_to_come_back_and_all_that_was_taken_is_done(
    store: LocalStore,
) -> None:
    promote(store, "shoes", export_random_generator(0))
    gate = GeneratorBlocker()
    with run_test_server(store, gate, workers=1, queue=3) as server:
        gate.block()
        with ThreadPoolExecutor(8) as threads:
            # One is worked on before others come to wait.
            taken = [threads.submit(server.post_drawing)]
            wait_until(gate.started.is_set)
            taken += [threads.submit(server.post_drawing) for _ in range(3)]
            wait_until(lambda: len(server.state.queue._pending) == 3)
            refused = [server.post_drawing() for _ in range(3)]
            figures = server.client.get("/metrics").text
            gate.released.set()
            assert [one.result().status_code for one in taken] == [200] * 4
    for answer in refused:
        assert is_error(answer, 503, "busy")
        assert int(answer.headers["Retry-After"]) >= 1
    assert "icanvas_waiting 3.0" in figures
    assert "icanvas_running 1.0" in figures
    assert 'icanvas_drawings_total{model="shoes",outcome="busy"} 3.0' in figures


def test_what_takes_too_long_is_given_up(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    gate = GeneratorBlocker()
    with run_test_server(store, gate, workers=1, timeout=0.3) as server:
        gate.block()
        with ThreadPoolExecutor(2) as threads:
            answers = [one.result() for one in [threads.submit(server.post_drawing) for _ in range(2)]]
        for answer in answers:
            assert is_error(answer, 503, "busy")
            assert "Retry-After" in answer.headers
        gate.released.set()
        wait_until(lambda: not server.state.queue._pending)
        # The one that waited was never begun.
        assert server.post_drawing().status_code == 200
        assert gate.num_runs == 2


def test_for_a_client_that_went_away_nothing_is_begun(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    gate = GeneratorBlocker()
    body = VALID_BODIES["png"][1]
    head = f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n".encode()
    head += f"Content-Length: {len(body)}\r\n\r\n".encode()
    with run_test_server(store, gate, workers=1) as server:
        gate.block()
        port = int(server.address.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as first:
            first.sendall(head + body)
            assert gate.started.wait(30)
            with socket.create_connection(("127.0.0.1", port)) as second:
                second.sendall(head + body)
                wait_until(lambda: len(server.state.queue._pending) == 1)
            wait_until(lambda: not server.state.queue._pending)
        gone = 'icanvas_drawings_total{model="shoes",outcome="gone"} 2.0'
        wait_until(lambda: gone in server.client.get("/metrics").text)
        gate.released.set()
        assert server.post_drawing().status_code == 200
        assert gate.num_runs == 2


def test_accepted_drawings_are_finished_at_the_end(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    gate = GeneratorBlocker()
    found: list[httpx.Response] = []
    with run_test_server(store, gate, workers=1) as server:
        gate.block()
        address, body = server.address + GENERATE, VALID_BODIES["png"][1]

        def draw() -> None:
            found.append(httpx.post(address, content=body, headers=PNG, timeout=60))

        threads = [threading.Thread(target=draw) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: gate.started.is_set() and len(server.state.queue._pending) == 2)
        threading.Timer(0.5, gate.released.set).start()
    # The server has ended by now.
    for thread in threads:
        thread.join(30)
    assert [answer.status_code for answer in found] == [200] * 3
