"""The server as it runs: uvicorn in a thread, on a port of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import httpx
import numpy as np

from postprocess import encode_png
from serving.engines import Draw
from serving.metrics import Metrics
from serving.server import make_server
from serving.settings import ServeSettings
from serving.startup import open_socket
from serving.state import House, build_house, start_engine
from storage import ObjectStore
from tests.serving.exports import draw_outline

PNG = {"Content-Type": "image/png"}
GENERATE = "/v1/models/shoes/generate"


@dataclass(frozen=True)
class Running:
    house: House
    address: str
    client: httpx.Client

    def draw(self, name: str = "shoes", number: int = 0, **more: object) -> httpx.Response:
        """Send a drawing."""
        return self.client.post(
            f"/v1/models/{name}/generate",
            content=encode_png(draw_outline(number)),
            headers=PNG,
            params={key: str(value) for key, value in more.items()},
        )

    def look(self) -> None:
        """Look at the store now, instead of at the next turn."""
        self.house.shelf.look()


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.01)


@contextmanager
def running(
    store: ObjectStore, around: Callable[[Draw], Draw] | None = None, **changes: object
) -> Iterator[Running]:
    """Serve a store; ``around`` puts something around every generator that is loaded."""
    usual = {"engine": "onnxruntime", "workers": 2, "poll": 3600, "rate": 0, "allow_root": True}
    settings = ServeSettings.model_validate(usual | changes)
    metrics = Metrics()
    engine = start_engine(settings, 1, metrics)
    if around is not None:
        load, put = engine.load, around
        engine = replace(engine, load=lambda data, side: put(load(data, side)))
    house = build_house(settings, store, engine, metrics)
    listener = open_socket("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = make_server(house)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started and house.shelf.looked)
        with httpx.Client(base_url=address, timeout=60) as client:
            yield Running(house, address, client)
    finally:
        server.should_exit = True
        thread.join()


class Gate:
    """Something around a generator that holds it up."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.runs = 0

    def __call__(self, draw: Draw) -> Draw:
        def held(
            condition: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
        ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            self.runs += 1
            self.begun.set()
            assert self.go.wait(30)
            return draw(condition)

        return held

    def hold(self) -> None:
        self.runs = 0
        self.go.clear()
        self.begun.clear()


def is_error(answer: httpx.Response, status: int, code: str) -> bool:
    told = answer.json()
    assert set(told) == {"error", "message"}
    assert told["message"].endswith(".")
    return (answer.status_code, told["error"]) == (status, code)
