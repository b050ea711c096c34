"""The server in a thread of the test process, with uvicorn and a free port."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import httpx

from postprocess import encode_png
from serving.engines import Array, GenerateFn
from serving.metrics import ServerMetrics
from serving.server import create_server
from serving.settings import ServeSettings
from serving.startup import open_socket
from serving.state import AppState, build_engine, build_state
from storage import ObjectStore
from tests.serving.exports import draw_outline

PNG = {"Content-Type": "image/png"}
GENERATE = "/v1/models/shoes/generate"


@dataclass(frozen=True)
class RunningServer:
    """A server, its URL, and a client with that base URL."""

    state: AppState
    address: str
    client: httpx.Client

    def post_drawing(self, name: str = "shoes", number: int = 0, **more: object) -> httpx.Response:
        """Post the drawing of a number. ``more`` are query parameters."""
        return self.client.post(
            f"/v1/models/{name}/generate",
            content=encode_png(draw_outline(number)),
            headers=PNG,
            params={key: str(value) for key, value in more.items()},
        )

    def poll(self) -> None:
        """Poll the store now."""
        self.state.model_manager.poll()


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true after {seconds:g} s"
        time.sleep(0.01)


@contextmanager
def run_test_server(
    store: ObjectStore,
    wrap_generate: Callable[[GenerateFn], GenerateFn] | None = None,
    **changes: object,
) -> Iterator[RunningServer]:
    """Serve a store within the block.

    Parameters
    ----------
    store : ObjectStore
        Holds the promotions.
    wrap_generate : callable, optional
        Wraps every loaded generator.
    **changes : object
        Settings that differ from the defaults below.
    """
    defaults = {
        "engine": "onnxruntime",
        "workers": 2,
        "poll_interval": 3600,
        "rate": 0,
        "allow_root": True,
    }
    settings = ServeSettings.model_validate(defaults | changes)
    metrics = ServerMetrics()
    engine = build_engine(settings, 1, metrics)
    if wrap_generate is not None:
        load, wrap = engine.load, wrap_generate
        engine = replace(engine, load=lambda data, side: wrap(load(data, side)))
    state = build_state(settings, store, engine, metrics)
    listener = open_socket("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = create_server(state)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started and state.model_manager.has_polled)
        with httpx.Client(base_url=address, timeout=60) as client:
            yield RunningServer(state, address, client)
    finally:
        server.should_exit = True
        thread.join()


class GeneratorBlocker:
    """Wraps a generator, and blocks its calls while it is told to.

    Attributes
    ----------
    started : Event
        Set once a call has started since ``block``.
    released : Event
        Blocked calls wait for it.
    num_runs : int
        Calls since ``block``.
    """

    def __init__(self) -> None:
        self.started, self.released = threading.Event(), threading.Event()
        self.released.set()
        self.num_runs = 0

    def __call__(self, generate: GenerateFn) -> GenerateFn:
        def blocked(condition: Array) -> Array:
            self.num_runs += 1
            self.started.set()
            assert self.released.wait(120)
            return generate(condition)

        return blocked

    def block(self) -> None:
        """Block calls from now on, until ``released`` is set."""
        self.num_runs = 0
        self.released.clear()
        self.started.clear()


def is_error(response: httpx.Response, status: int, code: str) -> bool:
    body = response.json()
    assert set(body) == {"error", "message"}
    assert body["message"].endswith(".")
    return (response.status_code, body["error"]) == (status, code)
