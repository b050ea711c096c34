import json
import socket
import time

import httpx

from storage import LocalStore
from tests.serving.exports import export_random_generator, promote
from tests.serving.hostile import VALID_BODIES
from tests.serving.live_server import GENERATE, PNG, RunningServer, is_error, run_test_server, wait_until


def test_a_body_that_does_not_come_is_given_up(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    with run_test_server(store, body_timeout=0.3) as server:
        port = int(server.address.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
            line.sendall(
                f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
                "Content-Length: 5000\r\n\r\nabc".encode()
            )
            assert line.recv(100).startswith(b"HTTP/1.1 408 ")
        assert server.post_drawing().status_code == 200


def test_a_body_without_a_length_is_cut_at_the_limit(server: RunningServer) -> None:
    def send() -> "list[bytes]":
        return [VALID_BODIES["png"][1]] + [bytes(1 << 20)] * 5

    answer = server.client.post(GENERATE, content=iter(send()), headers=PNG)
    assert is_error(answer, 413, "too_large")


def test_only_so_many_bodies_arrive_at_once(store: LocalStore) -> None:
    """Of all clients, and of one: nobody may keep the others out by sending slowly."""
    promote(store, "shoes", export_random_generator(0))
    begun = (
        f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        "Content-Length: 5000\r\n\r\nabc"
    ).encode()
    with run_test_server(store, queue=1) as server:
        port = int(server.address.rsplit(":", 1)[1])

        def begin(client: int) -> socket.socket:
            line = socket.create_connection(("127.0.0.1", port), 30, (f"127.0.0.{client}", 0))
            line.sendall(begun)
            return line

        arriving = server.state.body_reader._active
        lines = [begin(2)]
        wait_until(lambda: arriving.total() == 1)
        theirs = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=theirs, base_url=server.address) as second:
            answer = second.post(GENERATE, content=VALID_BODIES["png"][1], headers=PNG)
        assert is_error(answer, 429, "too_many")
        assert server.post_drawing().status_code == 200, "another client was kept out"
        lines += [begin(client) for client in (3, 4, 5)]
        wait_until(lambda: arriving.total() == 4)
        assert is_error(server.post_drawing(), 503, "busy")
        for line in lines:
            line.close()
        wait_until(lambda: not arriving)
        assert server.post_drawing().status_code == 200


def test_many_small_pieces_are_one_body(server: RunningServer) -> None:
    body = json.dumps(
        {"width": 100, "height": 100, "strokes": [{"points": [[1, 1], [90, 40], [30, 80]]}]}
    ).encode()
    pieces = (body[at : at + 1] for at in range(len(body)))
    headers = {"Content-Type": "application/json"}
    assert server.client.post(GENERATE, content=pieces, headers=headers).status_code == 200


def test_a_refused_client_reads_why_though_it_still_sends(server: RunningServer) -> None:
    body = bytes(6 << 20)
    began = time.monotonic()
    answer = server.client.post("/v1/models/hats/generate", content=body, headers=PNG)
    assert is_error(answer, 404, "unknown_model")
    assert time.monotonic() - began < 30
