"""Count the requests to S3, the calls of Prefect's API and the events of one shard.

    python -m benchmarks.scale_measure [--runner dask]

Prepares a data set of 2 and one of 10 small shards with a real S3 and a real Prefect server, and
prints the difference a shard, which excludes the constant cost of a run. An object of less than
16 MiB is one request; benchmarks.scale computes the requests of larger ones.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.conftest import draw_scene, encode
from tests.faults.faulty_proxy import run_faulty_proxy
from tests.s3 import BUCKET, free_ports, running_s3

_ENTRY = """
name = "{name}"
title = "Scenes"
shard_size = 2
val_share = 0.25
[source]
kind = "local"
path = "{path}"
[edges]
border = 16
"""

_CALL = re.compile(rb"(GET|POST|PUT|PATCH|DELETE) (/api/[^ ?]*)[^ ]* HTTP/1\.1\r\n")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runner", default="threads")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        counters = [
            _count_requests(root / str(shards), shards, options.runner) for shards in (2, 10)
        ]
    for kind in ("S3 requests", "Prefect calls", "Prefect events"):
        counts_2, counts_10 = (counts[kind] for counts in counters)
        print(f"{kind} a shard ({options.runner}); constant a run")
        total = 0.0
        for name in sorted(counts_2.keys() | counts_10.keys()):
            per_shard = (counts_10[name] - counts_2[name]) / 8
            total += per_shard
            print(f"  {per_shard:6.2f}  {counts_2[name] - 2 * per_shard:6.1f}  {name}")
        print(f"  {total:6.2f}  total")


def _count_requests(root: Path, shards: int, runner: str) -> dict[str, Counter[str]]:
    pictures = root / "pictures"
    pictures.mkdir(parents=True)
    for number in range(2 * shards):
        (pictures / f"{number:03d}.png").write_bytes(encode(draw_scene(number)))
    (root / "scenes.toml").write_text(_ENTRY.format(name="scenes", path=pictures))
    (root / "s3").mkdir()
    calls: Counter[str] = Counter()
    with (
        running_s3(root / "s3") as server,
        run_faulty_proxy(server) as proxy,
        _prefect(root / "prefect") as port,
        _count_calls(port, calls) as api,
    ):
        command = [sys.executable, "-c", "from cli import main; main()", "prepare", "scenes"]
        subprocess.run(
            [*command, "--runner", runner],
            env={
                **os.environ,
                **server.environment,
                "AWS_ENDPOINT_URL_S3": proxy.endpoint,
                "ICANVAS_STORE": f"s3://{BUCKET}/scale",
                "ICANVAS_CATALOGUE": str(root),
                "PREFECT_API_URL": f"http://127.0.0.1:{api}/api",
            },
            check=True,
            stdout=subprocess.DEVNULL,
        )
        requests = Counter(
            _classify_request(request.method, request.key, request.query)
            for request in proxy.requests
        )
        time.sleep(5)
        events = _count_events(port)
    return {"S3 requests": requests, "Prefect calls": calls, "Prefect events": events}


def _classify_request(method: str, key: str, query: str) -> str:
    """Return method and kind of object of a request."""
    if "list-type" in query:
        return "LIST"
    collection = key.split("/")[3] if key.count("/") > 3 else "other"
    name = re.sub(r"\d{5}", "N", "/".join(key.split("/")[5:])) or key
    return f"{method} {collection} {name}"


def _count_events(port: int) -> Counter[str]:
    response = httpx.post(
        f"http://127.0.0.1:{port}/api/events/count-by/event", json={"filter": {}}, timeout=60
    )
    if response.is_success:
        return Counter({row["label"]: row["count"] for row in response.json()})
    return Counter()


@contextmanager
def _prefect(home: Path) -> Iterator[int]:
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"],
        env={**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}/api/health").is_success:
                    break
            time.sleep(0.5)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _count_calls(port: int, calls: Counter[str]) -> Iterator[int]:
    """Run a proxy to the server that counts API calls; return its port."""

    def carry(source: socket.socket, sink: socket.socket, count: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                # Clients send a request's head in one write.
                for match in _CALL.finditer(data) if count else ():
                    calls[f"{match[1].decode()} {_ID.sub('ID', match[2].decode())}"] += 1
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def listen(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(("127.0.0.1", port))
            for line in ((client, upstream, True), (upstream, client, False)):
                threading.Thread(target=carry, args=line, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, args=[listener], daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main()
