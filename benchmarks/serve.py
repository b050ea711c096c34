"""How quick is the server, against its engine alone, and what does it do under too much load?

    .venv/bin/python -m benchmarks.serve                    # some minutes; 60 s of them overload
    .venv/bin/python -m benchmarks.serve --engine onnxruntime --seconds 10

`icanvas serve` runs in a process of its own, with a generator of full size and random weights,
which take as long as any. Clients are threads of this process, and send strokes as the page does.
The engine alone draws in this process, while the server is idle. What a request costs beside the
network is measured with a small generator, whose own time hides less of it. It ends with an error
where that is 15 ms or more of strokes, or overload brings an error or growing memory.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import psutil
import torch

from config.settings import count_cores
from model.data.dataset import to_condition
from model.export.card import GeneratorCard
from model.export.serialization import to_onnx, to_safetensors
from model.networks.generator import Generator
from model.training.samples import to_image
from postprocess import encode_png
from serving.engines import Draw, Options, create_engine
from storage import LocalStore
from storage.promoted_files import Example
from tests.serving.exports import Made, draw_outline, promote

SIDE = 256
MOST_OVERHEAD_MS = 15
MOST_GROWTH_MIB = 60
BESIDE = 200
# Seconds; a server may close a line that was idle for five.
_IDLE = 3


def make_random(width: int, blocks: int) -> Made:
    """Return a generator of a size with random weights, exported."""
    torch.manual_seed(0)
    generator = Generator(width, blocks).eval().requires_grad_(False)
    card = GeneratorCard(
        dataset="bench",
        run="bench",
        epoch=1,
        step=1,
        checkpoint="0" * 64,
        pairs="none",
        average=True,
        image_size=SIDE,
        extent=0.85,
        generator_width=width,
        generator_blocks=blocks,
        trained_with={},
        exported_with={},
        revision=None,
    )
    outline = draw_outline(0)
    picture = to_image(generator(to_condition(outline).unsqueeze(0))[0])
    examples = (Example(encode_png(outline), encode_png(picture)),)
    return Made(to_safetensors(generator, card), to_onnx(generator, card), card, examples)


def strokes() -> bytes:
    """Return a drawing of twelve strokes with 40 points each, as the page sends it."""
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(12):
        steps = np.cumsum(random.normal(0, 25, (40, 2)), 0) + random.uniform(300, 700, 2)
        drawn.append({"points": np.clip(steps, 0, 1000).round(1).tolist()})
    return json.dumps({"width": 1000, "height": 1000, "strokes": drawn}).encode()


def sheet() -> bytes:
    """Return the like as a PNG of 1024×1024."""
    image = np.full((1024, 1024, 3), 255, np.uint8)
    for stroke in json.loads(strokes())["strokes"]:
        points = np.array(stroke["points"]).astype(np.int32)
        cv2.polylines(image, [points], False, (40, 40, 40), 10, cv2.LINE_AA)
    return encode_png(image)


class Client:
    """One connection that stays open.

    Attributes
    ----------
    taken : seconds of each picture.
    beside : seconds of each that were not the network's.
    outcomes : answers by status.
    """

    def __init__(self, address: str, model: str, kind: str, body: bytes) -> None:
        self._target = f"/v1/models/{model}/generate"
        self._line = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)
        self._headers, self._body = {"Content-Type": kind}, body
        self._used = time.perf_counter()
        self.taken: list[float] = []
        self.beside: list[float] = []
        self.outcomes: Counter[int] = Counter()

    def draw(self) -> None:
        began = time.perf_counter()
        if began - self._used > _IDLE:
            self._line.close()  # It opens again by itself.
        self._line.request("POST", self._target, self._body, self._headers)
        answer = self._line.getresponse()
        answer.read()
        self._used = time.perf_counter()
        taken = self._used - began
        self.outcomes[answer.status] += 1
        if answer.status == 200:
            found = re.search(r"network;dur=([\d.]+)", answer.headers["Server-Timing"])
            assert found
            self.taken.append(taken)
            self.beside.append(taken - float(found[1]) / 1000)


@contextmanager
def serving(store: LocalStore, engine: str) -> Iterator[tuple[str, psutil.Process, str]]:
    """Run the server; give its address, process and engine."""
    words = [sys.executable, "-m", "cli", "serve", "--port", "0", "--store", store.url]
    environment = {**os.environ, "ICANVAS_SERVE_RATE": "0", "ICANVAS_SERVE_ALLOW_ROOT": "1"}
    with subprocess.Popen(
        [*words, "--engine", engine],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = ""
        while printed.count("is served after") < 2:
            line = process.stdout.readline()
            if not line or "is refused" in line:
                sys.exit(f"The server does not serve:\n{printed}{line}")
            printed += line
        address = re.search(r"http://[\d.]+:\d+", printed)
        title = re.search(r"engine +(.*)", printed)
        assert address and title
        try:
            yield address[0], psutil.Process(process.pid), title[1]
        finally:
            process.terminate()
            process.wait()


def show(name: str, taken: list[float], rate: float) -> None:
    if not taken:
        sys.exit(f"{name}: no picture came in time. Measure for longer, or when less runs.")
    p50, p95 = np.percentile(taken, [50, 95]) * 1000
    print(f"| {name} | {p50:,.0f} | {p95:,.0f} | {rate:.2f} |", flush=True)


def show_beside(name: str, make: Callable[[], Client], process: psutil.Process) -> float:
    """Print what drawings cost beside the network, and return the median in ms."""
    client = make()
    for _ in range(10):
        client.draw()
    before = sum(process.cpu_times()[:2])
    client.beside.clear()
    for _ in range(BESIDE):
        client.draw()
    used = (sum(process.cpu_times()[:2]) - before) / BESIDE * 1000
    p50, p95 = np.percentile(client.beside, [50, 95]) * 1000
    print(f"| {name} | {p50:.1f} | {p95:.1f} | {used:.1f} |", flush=True)
    return float(p50)


def run_bare(draw: Draw, threads: int, seconds: float) -> tuple[list[float], float]:
    """Return seconds of each picture, and pictures a second, of an engine alone."""
    condition = to_condition(draw_outline(0)).numpy()
    taken: list[float] = []
    end = time.perf_counter() + seconds

    def work(_number: int) -> None:
        while time.perf_counter() < end:
            began = time.perf_counter()
            draw(condition)
            taken.append(time.perf_counter() - began)

    passed = run_threads(work, threads)
    return taken, len(taken) / passed


def run_clients(make: Callable[[], Client], count: int, seconds: float) -> tuple[Client, float]:
    """Return all that clients met as one, and pictures a second; each asks without a pause."""
    clients = [make() for _ in range(count)]
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < end:
            clients[number].draw()

    passed = run_threads(work, count)
    whole = merge(clients)
    return whole, len(whole.taken) / passed


def run_threads(work: Callable[[int], None], count: int) -> float:
    """Run work in threads, and return the seconds that it took."""
    began = time.perf_counter()
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(work, range(count)))
    return time.perf_counter() - began


def merge(clients: list[Client]) -> Client:
    whole = clients[0]
    for client in clients[1:]:
        whole.taken += client.taken
        whole.beside += client.beside
        whole.outcomes += client.outcomes
    return whole


def overload(
    make: Callable[[], Client], process: psutil.Process, rate: float, seconds: float
) -> tuple[Client, list[float]]:
    """Send so many drawings a second, whatever comes back; return what came, and MiB over time."""
    clients: list[Client] = []
    memory: list[float] = []
    lock, begun = threading.Lock(), time.perf_counter()
    count = [0]

    def work(_number: int) -> None:
        client = make()
        with lock:
            clients.append(client)
        while True:
            with lock:
                due = begun + count[0] / rate
                count[0] += 1
            if due > begun + seconds:
                return
            time.sleep(max(0.0, due - time.perf_counter()))
            client.draw()

    def watch() -> None:
        while time.perf_counter() < begun + seconds:
            memory.append(process.memory_info().rss / 2**20)
            time.sleep(0.5)

    watcher = threading.Thread(target=watch)
    watcher.start()
    # Enough for all that wait in the queue, and those that come meanwhile.
    run_threads(work, 64)
    watcher.join()
    return merge(clients), memory


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--seconds", type=float, default=30, help="for each row")
    parser.add_argument("--overload", type=float, default=60, help="seconds of overload")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder))
        made = make_random(64, 9)
        promote(store, "bench", made)
        promote(store, "small", make_random(8, 1))
        faults = compare(store, made, given.engine, given.seconds, given.overload)
    if faults:
        sys.exit("\n".join(faults))


def compare(
    store: LocalStore, made: Made, name: str, seconds: float, overloaded: float
) -> list[str]:
    """Print all figures, and return what is not as it should be."""
    cv2.setNumThreads(1)
    engine = create_engine(name, Options(count_cores()))
    draw = engine.load(getattr(made, engine.takes), SIDE)
    run_bare(draw, engine.workers, 3)
    with serving(store, name) as (address, process, title):

        def strokes_for(model: str) -> Callable[[], Client]:
            return lambda: Client(address, model, "application/json", strokes())

        def sheet_for(model: str) -> Callable[[], Client]:
            return lambda: Client(address, model, "image/png", sheet())

        print(
            f"{title}\n\n| beside the network | p50 ms | p95 ms | server's CPU ms, network's too |"
        )
        print("|---|---|---|---|")
        beside = show_beside("strokes", strokes_for("small"), process)
        show_beside("PNG of 1024×1024", sheet_for("small"), process)
        print("\n| | p50 ms | p95 ms | pictures/s |\n|---|---|---|---|")
        run_clients(strokes_for("bench"), engine.workers, 3)
        show("engine alone, 1 thread", *run_bare(draw, 1, seconds))
        for kind, make in (("strokes", strokes_for), ("PNG of 1024×1024", sheet_for)):
            one, rate = run_clients(make("bench"), 1, seconds)
            show(f"server, 1 client, {kind}", one.taken, rate)
        taken, alone = run_bare(draw, engine.workers, seconds)
        show(f"engine alone, {engine.workers} threads", taken, alone)
        eight, rate = run_clients(strokes_for("bench"), 8, seconds)
        show("server, 8 clients, strokes", eight.taken, rate)
        print(f"\nServer against engine alone: {rate / alone:.3f} of its pictures/s.")
        many, memory = overload(strokes_for("bench"), process, 4 * rate, overloaded)
        alive = process.is_running()
    p50, p95 = np.percentile(many.taken, [50, 95])
    third = len(memory) // 3
    growth = float(np.median(memory[-third:]) - np.median(memory[third : 2 * third]))
    taken_in, sent_away = many.outcomes[200], many.outcomes[503]
    print(
        f"Overload, {4 * rate:.1f} drawings/s for {overloaded:.0f} s: {taken_in} accepted "
        f"({taken_in / overloaded:.2f}/s), p50 {p50:.2f} s, p95 {p95:.2f} s; {sent_away} answered "
        f"with 503; memory {memory[0]:.0f} MiB at first, {max(memory):.0f} at most, "
        f"{growth:+.1f} from the second third to the last."
    )
    others = {code: count for code, count in many.outcomes.items() if code not in (200, 503)}
    found = {
        f"A request costs {beside:.1f} ms beside the network.": beside >= MOST_OVERHEAD_MS,
        f"There were other answers under overload: {others}.": bool(others),
        "The server ended under overload.": not alive,
        f"Memory grew by {growth:.0f} MiB.": growth > MOST_GROWTH_MIB,
    }
    return [fault for fault, holds in found.items() if holds]


if __name__ == "__main__":
    main()
