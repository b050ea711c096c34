"""The server as it runs: uvicorn in a thread, on a port of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import httpx
import numpy as np

from postprocess import encode_png
from serving.engines import GenerateFn
from serving.metrics import ServerMetrics
from serving.server import create_server
from serving.settings import ServeSettings
from serving.startup import open_socket
from serving.state import AppState, build_state, build_engine
from storage import ObjectStore
from tests.serving.exports import draw_outline

PNG = {"Content-Type": "image/png"}
GENERATE = "/v1/models/shoes/generate"


@dataclass(frozen=True)
class RunningServer:
    state: AppState
    address: str
    client: httpx.Client

    def post_drawing(self, name: str = "shoes", number: int = 0, **more: object) -> httpx.Response:
        """Send a drawing."""
        return self.client.post(
            f"/v1/models/{name}/generate",
            content=encode_png(draw_outline(number)),
            headers=PNG,
            params={key: str(value) for key, value in more.items()},
        )

    def poll(self) -> None:
        """Look at the store now, instead of at the next turn."""
        self.state.models.poll()


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.01)


@contextmanager
def run_test_server(
    store: ObjectStore, wrap_generate: Callable[[GenerateFn], GenerateFn] | None = None, **changes: object
) -> Iterator[RunningServer]:
    """Serve a store; ``around`` puts something around every generator that is loaded."""
    usual = {"engine": "onnxruntime", "workers": 2, "poll": 3600, "rate": 0, "allow_root": True}
    settings = ServeSettings.model_validate(usual | changes)
    metrics = ServerMetrics()
    engine = build_engine(settings, 1, metrics)
    if wrap_generate is not None:
        load, put = engine.load, wrap_generate
        engine = replace(engine, load=lambda data, side: put(load(data, side)))
    state = build_state(settings, store, engine, metrics)
    listener = open_socket("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = create_server(state)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started and state.models.has_polled)
        with httpx.Client(base_url=address, timeout=60) as client:
            yield RunningServer(state, address, client)
    finally:
        server.should_exit = True
        thread.join()


class GeneratorBlocker:
    """Something around a generator that holds it up."""

    def __init__(self) -> None:
        self.started, self.released = threading.Event(), threading.Event()
        self.released.set()
        self.num_runs = 0

    def __call__(self, draw: GenerateFn) -> GenerateFn:
        def held(
            condition: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
        ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            self.num_runs += 1
            self.started.set()
            assert self.released.wait(30)
            return draw(condition)

        return held

    def block(self) -> None:
        self.num_runs = 0
        self.released.clear()
        self.started.clear()


def is_error(response: httpx.Response, status: int, code: str) -> bool:
    body = response.json()
    assert set(body) == {"error", "message"}
    assert body["message"].endswith(".")
    return (response.status_code, body["error"]) == (status, code)
