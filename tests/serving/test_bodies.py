import json
import socket
import time

import httpx

from storage import LocalStore
from tests.serving.exports import export_random_generator, promote
from tests.serving.hostile import VALID_BODIES
from tests.serving.live_server import (
    GENERATE,
    PNG,
    RunningServer,
    is_error,
    run_test_server,
    wait_until,
)


def test_slow_body_returns_408(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    with run_test_server(store, body_timeout=0.3) as server:
        port = int(server.address.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(
                f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
                "Content-Length: 5000\r\n\r\nabc".encode()
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        assert server.post_drawing().status_code == 200


def test_chunked_body_over_the_limit_returns_413(server: RunningServer) -> None:
    def send() -> "list[bytes]":
        return [VALID_BODIES["png"][1]] + [bytes(1 << 20)] * 5

    response = server.client.post(GENERATE, content=iter(send()), headers=PNG)
    assert is_error(response, 413, "too_large")


def test_concurrent_bodies_are_limited_in_total_and_per_client(store: LocalStore) -> None:
    """A client that sends slowly must not block other clients."""
    promote(store, "shoes", export_random_generator(0))
    partial_request = (
        f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        "Content-Length: 5000\r\n\r\nabc"
    ).encode()
    with run_test_server(store, queue_size=1) as server:
        port = int(server.address.rsplit(":", 1)[1])

        def connect(client: int) -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", port), 30, (f"127.0.0.{client}", 0))
            connection.sendall(partial_request)
            return connection

        active = server.state.body_reader._active
        connections = [connect(2)]
        wait_until(lambda: active.total() == 1)
        transport = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=transport, base_url=server.address) as second:
            response = second.post(GENERATE, content=VALID_BODIES["png"][1], headers=PNG)
        assert is_error(response, 429, "too_many")
        assert server.post_drawing().status_code == 200, "another client was blocked"
        connections += [connect(client) for client in (3, 4, 5)]
        wait_until(lambda: active.total() == 4)
        assert is_error(server.post_drawing(), 503, "busy")
        for connection in connections:
            connection.close()
        wait_until(lambda: not active)
        assert server.post_drawing().status_code == 200


def test_chunks_are_joined(server: RunningServer) -> None:
    body = json.dumps(
        {"width": 100, "height": 100, "strokes": [{"points": [[1, 1], [90, 40], [30, 80]]}]}
    ).encode()
    chunks = (body[at : at + 1] for at in range(len(body)))
    headers = {"Content-Type": "application/json"}
    assert server.client.post(GENERATE, content=chunks, headers=headers).status_code == 200


def test_client_reads_an_error_while_it_still_sends(server: RunningServer) -> None:
    body = bytes(6 << 20)
    start = time.monotonic()
    response = server.client.post("/v1/models/hats/generate", content=body, headers=PNG)
    assert is_error(response, 404, "unknown_model")
    assert time.monotonic() - start < 30
