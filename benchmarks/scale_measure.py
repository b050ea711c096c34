"""Count what one shard costs: requests to S3, calls to Prefect's API, events.

    python -m benchmarks.scale_measure [--runner dask]

Prepares a data set of 2 and one of 10 small shards with a real S3 and a real Prefect server, and
prints the difference for each shard, so that what a run costs once is not in it. An object of less
than 16 MiB is one request; larger ones are reckoned with in benchmarks.scale.
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
from tests.faults.faulty_proxy import line_to
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
        place = Path(folder)
        seen = [_count(place / str(shards), shards, options.runner) for shards in (2, 10)]
    for what in ("S3 requests", "Prefect calls", "Prefect events"):
        few, many = (counts[what] for counts in seen)
        print(f"{what} a shard ({options.runner}); of a run besides")
        total = 0.0
        for name in sorted(few.keys() | many.keys()):
            each = (many[name] - few[name]) / 8
            total += each
            print(f"  {each:6.2f}  {few[name] - 2 * each:6.1f}  {name}")
        print(f"  {total:6.2f}  in all")


def _count(place: Path, shards: int, runner: str) -> dict[str, Counter[str]]:
    pictures = place / "pictures"
    pictures.mkdir(parents=True)
    for number in range(2 * shards):
        (pictures / f"{number:03d}.png").write_bytes(encode(draw_scene(number)))
    (place / "scenes.toml").write_text(_ENTRY.format(name="scenes", path=pictures))
    (place / "s3").mkdir()
    calls: Counter[str] = Counter()
    with (
        running_s3(place / "s3") as server,
        line_to(server) as line,
        _prefect(place / "prefect") as port,
        _counting(port, calls) as api,
    ):
        command = [sys.executable, "-c", "from cli import main; main()", "prepare", "scenes"]
        subprocess.run(
            [*command, "--runner", runner],
            env={
                **os.environ,
                **server.environment,
                "AWS_ENDPOINT_URL_S3": line.endpoint,
                "ICANVAS_STORE": f"s3://{BUCKET}/scale",
                "ICANVAS_CATALOGUE": str(place),
                "PREFECT_API_URL": f"http://127.0.0.1:{api}/api",
            },
            check=True,
            stdout=subprocess.DEVNULL,
        )
        requests = Counter(_kind(asked.method, asked.key, asked.query) for asked in line.requests)
        time.sleep(5)
        events = _count_events(port)
    return {"S3 requests": requests, "Prefect calls": calls, "Prefect events": events}


def _kind(method: str, key: str, query: str) -> str:
    """Return what is asked of which kind of object."""
    if "list-type" in query:
        return "LIST"
    place = key.split("/")[3] if key.count("/") > 3 else "other"
    name = re.sub(r"\d{5}", "N", "/".join(key.split("/")[5:])) or key
    return f"{method} {place} {name}"


def _count_events(port: int) -> Counter[str]:
    answer = httpx.post(
        f"http://127.0.0.1:{port}/api/events/count-by/event", json={"filter": {}}, timeout=60
    )
    if answer.is_success:
        return Counter({found["label"]: found["count"] for found in answer.json()})
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
def _counting(port: int, calls: Counter[str]) -> Iterator[int]:
    """Give a port that leads to the server; what is called goes into the counter."""

    def carry(source: socket.socket, sink: socket.socket, count: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                # A client sends a request's head as one piece.
                for found in _CALL.finditer(data) if count else ():
                    calls[f"{found[1].decode()} {_ID.sub('ID', found[2].decode())}"] += 1
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def listen(door: socket.socket) -> None:
        while True:
            try:
                near, _ = door.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            for line in ((near, far, True), (far, near, False)):
                threading.Thread(target=carry, args=line, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=listen, args=[door], daemon=True).start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main()
