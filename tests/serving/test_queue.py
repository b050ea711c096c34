import socket
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import httpx
import pytest

from serving.errors import ApiError
from serving.metrics import ServerMetrics
from serving.queue import QueuedRequest, RequestQueue, Task
from storage import LocalStore
from tests.serving.exports import export_random_generator, promote
from tests.serving.hostile import VALID_BODIES
from tests.serving.live_server import (
    GENERATE,
    PNG,
    GeneratorBlocker,
    is_error,
    run_test_server,
    wait_until,
)


class BlockingTask:
    """A task that blocks until it is released."""

    def __init__(self) -> None:
        self.started, self.released = threading.Event(), threading.Event()

    def __call__(self, request: QueuedRequest) -> bytes:
        self.started.set()
        assert self.released.wait(30)
        request.end_stage("network")
        return b"done"


def test_requests_run_in_order_and_are_timed() -> None:
    queue = RequestQueue(1, 5, ServerMetrics())

    def make_task(number: int) -> Task:
        return lambda _request: b"%d" % number

    requests = [queue.submit(make_task(number)) for number in range(5)]
    assert [request.future.result(30) for request in requests] == [b"0", b"1", b"2", b"3", b"4"]
    assert requests[-1].stages["queue"] >= 0
    queue.close()


def test_full_queue_raises_busy_with_retry_after() -> None:
    metrics = ServerMetrics()
    queue = RequestQueue(1, 2, metrics)
    blocking = BlockingTask()
    first = queue.submit(blocking)
    assert blocking.started.wait(30)
    pending = [queue.submit(lambda _request: b"") for _ in range(2)]
    with pytest.raises(ApiError) as error:
        queue.submit(lambda _request: b"")
    assert error.value.code == "busy"
    assert error.value.retry_after is not None and 1 <= error.value.retry_after <= 60
    with pytest.raises(ApiError):
        queue.check_capacity()
    assert metrics.queue_length._value.get() == 2
    blocking.released.set()
    assert first.future.result(30) == b"done"
    for request in pending:
        request.future.result(30)
    queue.check_capacity()
    queue.close()


def test_cancelled_request_is_not_started() -> None:
    queue = RequestQueue(1, 2, ServerMetrics())
    blocking, never_run = BlockingTask(), BlockingTask()
    queue.submit(blocking)
    assert blocking.started.wait(30)
    cancelled = queue.submit(never_run)
    queue.cancel(cancelled)
    # Its place in the queue is free immediately.
    requests = [queue.submit(lambda _request: b"x") for _ in range(2)]
    blocking.released.set()
    assert [request.future.result(30) for request in requests] == [b"x", b"x"]
    assert not never_run.started.is_set()
    queue.close()


def test_cancelled_request_stops_after_its_stage() -> None:
    queue = RequestQueue(1, 2, ServerMetrics())
    blocking = BlockingTask()
    request = queue.submit(blocking)
    assert blocking.started.wait(30)
    queue.cancel(request)
    blocking.released.set()
    with pytest.raises(CancelledError):
        request.future.result(30)
    queue.close()


def test_error_affects_only_its_request() -> None:
    def fail(_request: QueuedRequest) -> bytes:
        raise ValueError("broken")

    queue = RequestQueue(1, 2, ServerMetrics())
    with pytest.raises(ValueError, match="broken"):
        queue.submit(fail).future.result(30)
    assert queue.submit(lambda _request: b"x").future.result(30) == b"x"
    queue.close()


def test_close_finishes_accepted_requests_and_rejects_new_ones() -> None:
    queue = RequestQueue(2, 5, ServerMetrics())
    blocking = BlockingTask()
    requests = [queue.submit(blocking) for _ in range(5)]
    assert blocking.started.wait(30)
    closing = threading.Thread(target=queue.close)
    closing.start()
    wait_until(lambda: queue._closing)
    with pytest.raises(ApiError):
        queue.submit(blocking)
    blocking.released.set()
    assert {request.future.result(30) for request in requests} == {b"done"}
    closing.join(30)
    assert not closing.is_alive()


def test_full_queue_returns_503_and_accepted_requests_finish(
    store: LocalStore,
) -> None:
    promote(store, "shoes", export_random_generator(0))
    blocker = GeneratorBlocker()
    with run_test_server(store, blocker, workers=1, queue_size=3) as server:
        blocker.block()
        with ThreadPoolExecutor(8) as threads:
            # The worker is busy before the others are queued.
            accepted = [threads.submit(server.post_drawing)]
            wait_until(blocker.started.is_set)
            accepted += [threads.submit(server.post_drawing) for _ in range(3)]
            wait_until(lambda: len(server.state.queue._pending) == 3)
            rejected = [server.post_drawing() for _ in range(3)]
            metrics_text = server.client.get("/metrics").text
            blocker.released.set()
            assert [future.result().status_code for future in accepted] == [200] * 4
    for response in rejected:
        assert is_error(response, 503, "busy")
        assert int(response.headers["Retry-After"]) >= 1
    assert "icanvas_queue_length 3.0" in metrics_text
    assert "icanvas_requests_in_progress 1.0" in metrics_text
    assert 'icanvas_requests_total{model="shoes",outcome="busy"} 3.0' in metrics_text


def test_timeout_returns_503(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    blocker = GeneratorBlocker()
    with run_test_server(store, blocker, workers=1, timeout=0.3) as server:
        blocker.block()
        with ThreadPoolExecutor(2) as threads:
            responses = [
                future.result()
                for future in [threads.submit(server.post_drawing) for _ in range(2)]
            ]
        for response in responses:
            assert is_error(response, 503, "busy")
            assert "Retry-After" in response.headers
        blocker.released.set()
        wait_until(lambda: not server.state.queue._pending)
        # The pending request was never started.
        assert server.post_drawing().status_code == 200
        assert blocker.num_runs == 2


def test_disconnected_client_is_counted_and_its_request_not_started(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    blocker = GeneratorBlocker()
    body = VALID_BODIES["png"][1]
    head = f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n".encode()
    head += f"Content-Length: {len(body)}\r\n\r\n".encode()
    with run_test_server(store, blocker, workers=1) as server:
        blocker.block()
        port = int(server.address.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as first:
            first.sendall(head + body)
            assert blocker.started.wait(30)
            with socket.create_connection(("127.0.0.1", port)) as second:
                second.sendall(head + body)
                wait_until(lambda: len(server.state.queue._pending) == 1)
            wait_until(lambda: not server.state.queue._pending)
        disconnected = 'icanvas_requests_total{model="shoes",outcome="disconnected"} 2.0'
        wait_until(lambda: disconnected in server.client.get("/metrics").text)
        blocker.released.set()
        assert server.post_drawing().status_code == 200
        assert blocker.num_runs == 2


def test_shutdown_finishes_accepted_requests(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    blocker = GeneratorBlocker()
    responses: list[httpx.Response] = []
    with run_test_server(store, blocker, workers=1) as server:
        blocker.block()
        address, body = server.address + GENERATE, VALID_BODIES["png"][1]

        def draw() -> None:
            responses.append(httpx.post(address, content=body, headers=PNG, timeout=60))

        threads = [threading.Thread(target=draw) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: blocker.started.is_set() and len(server.state.queue._pending) == 2)
        threading.Timer(0.5, blocker.released.set).start()
    # The server has stopped here.
    for thread in threads:
        thread.join(30)
    assert [response.status_code for response in responses] == [200] * 3
