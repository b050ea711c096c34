"""Prefect's share of the wall time of `prepare`, at 40 shards.

    python -m benchmarks.overhead

Times our own functions inside one real run of the flow, with Prefect's embedded server; the rest of
the wall time is Prefect's. Both come from one run, so a busy machine slows both. Prints the share
in which none of our functions ran, and, as a stricter bound, the idle share of the flow's two
threads during extraction, including the end of the last shards.
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHARDS = 40


class CallTimer:
    """Records when functions start and end."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []
        self._lock = threading.Lock()

    def wrap(self, module: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(module, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.monotonic()
            try:
                return function(*arguments, **named)
            finally:
                with self._lock:
                    self.spans.append((start, time.monotonic()))

        setattr(module, name, timed)

    def union_seconds(self) -> float:
        """Return the seconds during which at least one function ran."""
        total, until = 0.0, float("-inf")
        for start, end in sorted(self.spans):
            total += max(0.0, end - max(start, until))
            until = max(until, end)
        return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=4, help="in a shard")
    parser.add_argument("--border", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.pictures, options.border)


def measure(folder: Path, pictures: int, border: int) -> None:
    os.environ |= {
        "ICANVAS_STORE": str(folder / "store"),
        "ICANVAS_CATALOGUE": str(folder),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }
    from tests.conftest import draw_scene, encode

    (folder / "pictures").mkdir()
    for number in range(SHARDS * pictures):
        scene = encode(draw_scene(number, 256, 256))
        (folder / "pictures" / f"{number:04d}.png").write_bytes(scene)
    (folder / "many.toml").write_text(
        f'name = "many"\ntitle = "Many"\nshard_size = {pictures}\n'
        f'[source]\nkind = "local"\npath = "pictures"\n[edges]\nborder = {border}\n'
    )
    from hed import fetch_default_weights
    from tasks.embedded_server import start_embedded_api

    fetch_default_weights()
    start_embedded_api()
    import flows.prepare
    import sources
    import tasks.acquire
    import tasks.extract
    import tasks.publish

    all_work, shards, phase = CallTimer(), CallTimer(), CallTimer()
    for module, name in (
        (sources, "find"),
        (sources, "acquire"),
        (flows.prepare, "plan_pair_set"),
        (tasks.publish, "publish_pairs"),
    ):
        all_work.wrap(module, name)
    shards.wrap(tasks.extract, "extract_shard")
    phase.wrap(flows.prepare, "extract_shards")
    start = time.monotonic()
    flows.prepare.prepare("many")
    wall = time.monotonic() - start
    all_work.spans += shards.spans
    share = 1 - all_work.union_seconds() / wall
    extracting = phase.union_seconds()
    busy = sum(ended - started for started, ended in shards.spans)
    print(f"{SHARDS} shards of {pictures} pictures: {wall:.1f} s, extraction {extracting:.1f} s")
    print(f"none of our functions ran in {share:.1%} of the run")
    print(f"both threads were idle for {1 - busy / (2 * extracting):.1%} of the extraction")


if __name__ == "__main__":
    main()
