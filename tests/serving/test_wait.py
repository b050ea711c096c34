import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx

from storage import LocalStore
from tests.serving.exports import make, promote
from tests.serving.hostile import GOOD
from tests.serving.live_server import GENERATE, PNG, Gate, is_error, running, wait_until


def test_a_full_queue_says_when_to_come_back_and_all_that_was_taken_is_done(
    store: LocalStore,
) -> None:
    promote(store, "shoes", make(0))
    gate = Gate()
    with running(store, gate, workers=1, queue=3) as server:
        gate.hold()
        with ThreadPoolExecutor(8) as threads:
            # One is worked on before others come to wait.
            taken = [threads.submit(server.draw)]
            wait_until(gate.begun.is_set)
            taken += [threads.submit(server.draw) for _ in range(3)]
            wait_until(lambda: len(server.house.work._jobs) == 3)
            refused = [server.draw() for _ in range(3)]
            figures = server.client.get("/metrics").text
            gate.go.set()
            assert [one.result().status_code for one in taken] == [200] * 4
    for answer in refused:
        assert is_error(answer, 503, "busy")
        assert int(answer.headers["Retry-After"]) >= 1
    assert "icanvas_waiting 3.0" in figures
    assert "icanvas_running 1.0" in figures
    assert 'icanvas_drawings_total{model="shoes",outcome="busy"} 3.0' in figures


def test_what_takes_too_long_is_given_up(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    gate = Gate()
    with running(store, gate, workers=1, timeout=0.3) as server:
        gate.hold()
        with ThreadPoolExecutor(2) as threads:
            answers = [one.result() for one in [threads.submit(server.draw) for _ in range(2)]]
        for answer in answers:
            assert is_error(answer, 503, "busy")
            assert "Retry-After" in answer.headers
        gate.go.set()
        wait_until(lambda: not server.house.work._jobs)
        # The one that waited was never begun.
        assert server.draw().status_code == 200
        assert gate.runs == 2


def test_for_a_client_that_went_away_nothing_is_begun(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    gate = Gate()
    body = GOOD["png"][1]
    head = f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n".encode()
    head += f"Content-Length: {len(body)}\r\n\r\n".encode()
    with running(store, gate, workers=1) as server:
        gate.hold()
        port = int(server.address.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as first:
            first.sendall(head + body)
            assert gate.begun.wait(30)
            with socket.create_connection(("127.0.0.1", port)) as second:
                second.sendall(head + body)
                wait_until(lambda: len(server.house.work._jobs) == 1)
            wait_until(lambda: not server.house.work._jobs)
        gone = 'icanvas_drawings_total{model="shoes",outcome="gone"} 2.0'
        wait_until(lambda: gone in server.client.get("/metrics").text)
        gate.go.set()
        assert server.draw().status_code == 200
        assert gate.runs == 2


def test_accepted_drawings_are_finished_at_the_end(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    gate = Gate()
    found: list[httpx.Response] = []
    with running(store, gate, workers=1) as server:
        gate.hold()
        address, body = server.address + GENERATE, GOOD["png"][1]

        def draw() -> None:
            found.append(httpx.post(address, content=body, headers=PNG, timeout=60))

        threads = [threading.Thread(target=draw) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: gate.begun.is_set() and len(server.house.work._jobs) == 2)
        threading.Timer(0.5, gate.go.set).start()
    # The server has ended by now.
    for thread in threads:
        thread.join(30)
    assert [answer.status_code for answer in found] == [200] * 3
