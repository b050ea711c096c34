"""Measure the server's latency and throughput, compared with its engine alone, and its overload.

    .venv/bin/python -m benchmarks.serve                    # some minutes, 60 s of them overload
    .venv/bin/python -m benchmarks.serve --engine onnxruntime --seconds 10

`icanvas serve` runs in its own process, with a full-size generator with random weights, which is as
slow as a trained one. Clients are threads of this process, and send strokes as the page does. The
engine alone runs in this process while the server is idle. The overhead of a request beside the
network is measured with a small generator. The program exits with an error if that overhead is
15 ms or more for strokes, or if overload causes other errors than 503 or growing memory.
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
from serving.engines import GenerateFn, GeneratorEngineOptions, create_engine
from storage import LocalStore
from storage.promoted_files import Example
from tests.serving.exports import ExportFixture, draw_outline, promote

SIDE = 256
MAX_OVERHEAD_MS = 15
MAX_MEMORY_GROWTH_MIB = 60
NUM_OVERHEAD_REQUESTS = 200
# The server closes connections that are idle for five seconds.
_MAX_IDLE_S = 3


def make_random(width: int, blocks: int) -> ExportFixture:
    """Return an exported generator with random weights."""
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
    return ExportFixture(to_safetensors(generator, card), to_onnx(generator, card), card, examples)


def make_strokes() -> bytes:
    """Return the JSON body of a drawing with twelve strokes of 40 points, as the page sends it."""
    random = np.random.default_rng(0)
    strokes = []
    for _ in range(12):
        steps = np.cumsum(random.normal(0, 25, (40, 2)), 0) + random.uniform(300, 700, 2)
        strokes.append({"points": np.clip(steps, 0, 1000).round(1).tolist()})
    return json.dumps({"width": 1000, "height": 1000, "strokes": strokes}).encode()


def make_png() -> bytes:
    """Return a similar drawing as a PNG of 1024×1024."""
    image = np.full((1024, 1024, 3), 255, np.uint8)
    for stroke in json.loads(make_strokes())["strokes"]:
        points = np.array(stroke["points"]).astype(np.int32)
        cv2.polylines(image, [points], False, (40, 40, 40), 10, cv2.LINE_AA)
    return encode_png(image)


class BenchmarkClient:
    """A client with one persistent connection.

    Attributes
    ----------
    latencies : list of float
        Seconds of each picture.
    overheads : list of float
        Seconds of each picture without the network's time.
    status_counts : Counter
        Number of responses by status.
    """

    def __init__(self, address: str, model: str, kind: str, body: bytes) -> None:
        self._target = f"/v1/models/{model}/generate"
        self._line = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)
        self._headers, self._body = {"Content-Type": kind}, body
        self._used = time.perf_counter()
        self.latencies: list[float] = []
        self.overheads: list[float] = []
        self.status_counts: Counter[int] = Counter()

    def send_request(self) -> None:
        start = time.perf_counter()
        if start - self._used > _MAX_IDLE_S:
            self._line.close()  # http.client reconnects.
        self._line.request("POST", self._target, self._body, self._headers)
        response = self._line.getresponse()
        response.read()
        self._used = time.perf_counter()
        elapsed = self._used - start
        self.status_counts[response.status] += 1
        if response.status == 200:
            match = re.search(r"network;dur=([\d.]+)", response.headers["Server-Timing"])
            assert match
            self.latencies.append(elapsed)
            self.overheads.append(elapsed - float(match[1]) / 1000)


@contextmanager
def running_server(store: LocalStore, engine: str) -> Iterator[tuple[str, psutil.Process, str]]:
    """Run the server within the block; yield its URL, process and engine."""
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
        output = ""
        while output.count(": loaded version") < 2:
            line = process.stdout.readline()
            if not line or ": rejected version" in line:
                sys.exit(f"The server did not start:\n{output}{line}")
            output += line
        address = re.search(r"http://[\d.]+:\d+", output)
        title = re.search(r"engine +(.*)", output)
        assert address and title
        try:
            yield address[0], psutil.Process(process.pid), title[1]
        finally:
            process.terminate()
            process.wait()


def print_latencies(name: str, latencies: list[float], rate: float) -> None:
    if not latencies:
        sys.exit(
            f"{name}: no picture was generated in time. Use a larger --seconds, or an idle machine."
        )
    p50, p95 = np.percentile(latencies, [50, 95]) * 1000
    print(f"| {name} | {p50:,.0f} | {p95:,.0f} | {rate:.2f} |", flush=True)


def print_overhead(
    name: str, make: Callable[[], BenchmarkClient], process: psutil.Process
) -> float:
    """Print the overhead of drawings beside the network, and return its median in ms."""
    client = make()
    for _ in range(10):
        client.send_request()
    cpu_before = sum(process.cpu_times()[:2])
    client.overheads.clear()
    for _ in range(NUM_OVERHEAD_REQUESTS):
        client.send_request()
    cpu_ms = (sum(process.cpu_times()[:2]) - cpu_before) / NUM_OVERHEAD_REQUESTS * 1000
    p50, p95 = np.percentile(client.overheads, [50, 95]) * 1000
    print(f"| {name} | {p50:.1f} | {p95:.1f} | {cpu_ms:.1f} |", flush=True)
    return float(p50)


def run_engine(draw: GenerateFn, threads: int, seconds: float) -> tuple[list[float], float]:
    """Return the latencies in seconds and the pictures a second of an engine alone."""
    condition = to_condition(draw_outline(0)).numpy()
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    def work(_number: int) -> None:
        while time.perf_counter() < end:
            start = time.perf_counter()
            draw(condition)
            latencies.append(time.perf_counter() - start)

    elapsed = run_threads(work, threads)
    return latencies, len(latencies) / elapsed


def run_clients(
    make: Callable[[], BenchmarkClient], count: int, seconds: float
) -> tuple[BenchmarkClient, float]:
    """Run clients without pauses; return their merged results and the pictures a second."""
    clients = [make() for _ in range(count)]
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < end:
            clients[number].send_request()

    elapsed = run_threads(work, count)
    merged = merge_clients(clients)
    return merged, len(merged.latencies) / elapsed


def run_threads(work: Callable[[int], None], count: int) -> float:
    """Run work in threads and return the elapsed seconds."""
    start = time.perf_counter()
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(work, range(count)))
    return time.perf_counter() - start


def merge_clients(clients: list[BenchmarkClient]) -> BenchmarkClient:
    merged = clients[0]
    for client in clients[1:]:
        merged.latencies += client.latencies
        merged.overheads += client.overheads
        merged.status_counts += client.status_counts
    return merged


def run_overload(
    make: Callable[[], BenchmarkClient], process: psutil.Process, rate: float, seconds: float
) -> tuple[BenchmarkClient, list[float]]:
    """Send drawings at a fixed rate; return the merged results, and the server's MiB over time."""
    clients: list[BenchmarkClient] = []
    memory: list[float] = []
    lock, start = threading.Lock(), time.perf_counter()
    count = [0]

    def work(_number: int) -> None:
        client = make()
        with lock:
            clients.append(client)
        while True:
            with lock:
                due = start + count[0] / rate
                count[0] += 1
            if due > start + seconds:
                return
            time.sleep(max(0.0, due - time.perf_counter()))
            client.send_request()

    def sample_memory() -> None:
        while time.perf_counter() < start + seconds:
            memory.append(process.memory_info().rss / 2**20)
            time.sleep(0.5)

    sampler = threading.Thread(target=sample_memory)
    sampler.start()
    # Enough threads for all waiting requests and for those sent meanwhile.
    run_threads(work, 64)
    sampler.join()
    return merge_clients(clients), memory


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--seconds", type=float, default=30, help="for each row")
    parser.add_argument("--overload", type=float, default=60, help="seconds of overload")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder))
        exported = make_random(64, 9)
        promote(store, "bench", exported)
        promote(store, "small", make_random(8, 1))
        failures = compare_server_with_engine(
            store, exported, options.engine, options.seconds, options.overload
        )
    if failures:
        sys.exit("\n".join(failures))


def compare_server_with_engine(
    store: LocalStore,
    exported: ExportFixture,
    name: str,
    seconds: float,
    overload_seconds: float,
) -> list[str]:
    """Print all measurements, and return messages about those out of bounds."""
    cv2.setNumThreads(1)
    engine = create_engine(name, GeneratorEngineOptions(count_cores()))
    draw = engine.load(getattr(exported, engine.weights_format), SIDE)
    run_engine(draw, engine.workers, 3)
    with running_server(store, name) as (address, process, title):

        def strokes_for(model: str) -> Callable[[], BenchmarkClient]:
            return lambda: BenchmarkClient(address, model, "application/json", make_strokes())

        def sheet_for(model: str) -> Callable[[], BenchmarkClient]:
            return lambda: BenchmarkClient(address, model, "image/png", make_png())

        print(
            f"{title}\n\n"
            "| overhead beside the network | p50 ms | p95 ms | server's CPU ms, with the network |"
        )
        print("|---|---|---|---|")
        overhead_ms = print_overhead("strokes", strokes_for("small"), process)
        print_overhead("PNG of 1024×1024", sheet_for("small"), process)
        print("\n| | p50 ms | p95 ms | pictures/s |\n|---|---|---|---|")
        run_clients(strokes_for("bench"), engine.workers, 3)
        print_latencies("engine alone, 1 thread", *run_engine(draw, 1, seconds))
        for kind, make in (("strokes", strokes_for), ("PNG of 1024×1024", sheet_for)):
            single, rate = run_clients(make("bench"), 1, seconds)
            print_latencies(f"server, 1 client, {kind}", single.latencies, rate)
        latencies, engine_rate = run_engine(draw, engine.workers, seconds)
        print_latencies(f"engine alone, {engine.workers} threads", latencies, engine_rate)
        eight, rate = run_clients(strokes_for("bench"), 8, seconds)
        print_latencies("server, 8 clients, strokes", eight.latencies, rate)
        print(f"\nThe server reached {rate / engine_rate:.3f} of the engine's pictures/s.")
        overload, memory = run_overload(strokes_for("bench"), process, 4 * rate, overload_seconds)
        alive = process.is_running()
    p50, p95 = np.percentile(overload.latencies, [50, 95])
    third = len(memory) // 3
    growth = float(np.median(memory[-third:]) - np.median(memory[third : 2 * third]))
    num_accepted, num_rejected = overload.status_counts[200], overload.status_counts[503]
    print(
        f"Overload, {4 * rate:.1f} drawings/s for {overload_seconds:.0f} s: "
        f"{num_accepted} accepted ({num_accepted / overload_seconds:.2f}/s), p50 {p50:.2f} s, "
        f"p95 {p95:.2f} s; {num_rejected} answered with 503; "
        f"memory {memory[0]:.0f} MiB at first, {max(memory):.0f} at most, "
        f"{growth:+.1f} from the second third to the last."
    )
    other_statuses = {
        code: count for code, count in overload.status_counts.items() if code not in (200, 503)
    }
    failures = {
        f"A request costs {overhead_ms:.1f} ms beside the network.": overhead_ms >= MAX_OVERHEAD_MS,
        f"Unexpected statuses under overload: {other_statuses}.": bool(other_statuses),
        "The server exited under overload.": not alive,
        f"Memory grew by {growth:.0f} MiB.": growth > MAX_MEMORY_GROWTH_MIB,
    }
    return [fault for fault, holds in failures.items() if holds]


if __name__ == "__main__":
    main()
