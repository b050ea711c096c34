"""Measure edge extraction: engines, stages, the original procedure, memory.

    python benchmarks/extract.py [FOLDER OF PICTURES] [--seconds N] [--engines NAME …]

Prints Markdown. Everything is measured in one run, on pictures made from those of the folder (by
default the demo's): compare rows of one run only. Nothing else should be running.
"""

import argparse
import itertools
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import cv2
import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image

from hed import EdgeDetector, choose_engine, load_weights
from hed.crop_plan import CropPlan, plan_axis
from hed.engines import HedEngine, create_engine
from postprocess import clean_edges, encode_png, fit_picture, join_pair
from sources.pictures import decode_picture

Picture = NDArray[np.uint8]

_DEMO = Path(__file__).parents[1] / "sources" / "demo" / "color"
_WHITE = (255, 255, 255)
_ORIGINAL_BORDER = 128
_FEW = 24
# GFLOP of HED for a 256x256 picture.
_GFLOP_512 = 160.3
_GFLOP_PLANNED = 0.672 * _GFLOP_512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=_DEMO)
    parser.add_argument("--seconds", type=int, default=60, help="for each measurement")
    parser.add_argument("--engines", nargs="+", default=["opencv", "openvino:f32", "openvino"])
    parser.add_argument("--memory", default="openvino", help="engine for the memory table, or none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measure(options, Path(scratch))


def measure(options: argparse.Namespace, scratch: Path) -> None:
    describe_machine()
    measure_stages(list_pictures(options.folder)[:24])
    print("\n## Engines\n")
    print(
        f"Pictures a second, over about {options.seconds} s each; `icanvas prepare` from the time "
        "that additional pictures take.\n"
    )
    print(
        "| engine | network alone | GFLOP/s a core | `icanvas prepare` | share "
        "| original procedure | ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    rates, cores, weights = {}, os.cpu_count() or 1, load_weights()
    for name in options.engines:
        engine, _, precision = name.partition(":")
        folder = scratch / name.replace(":", "-")
        engine_all = create_engine(engine, weights, precision=precision or "auto")
        pictures = make_pictures(options.folder, folder / "few", _FEW)
        engine_rate = measure_engine(engine_all, pictures, options.seconds)
        many_pictures = make_pictures(
            options.folder, folder / "many", _FEW + int(engine_rate * options.seconds)
        )
        prepared = measure_prepare(folder, engine, precision or "auto")
        # As usual: one network on all cores.
        single_engine = create_engine(engine, weights, 1, precision or "auto")
        original = measure_original(single_engine, many_pictures, folder, options.seconds)
        rates[name] = prepared, original
        print(
            f"| {engine_all.description} | {engine_rate:.2f} "
            f"| {engine_rate * _GFLOP_PLANNED / cores:.0f} | {prepared:.2f} "
            f"| {prepared / engine_rate:.1%} | {original:.2f} | {prepared / original:.2f} |",
            flush=True,
        )
    first = options.engines[0]
    for name, (prepared, _) in rates.items():
        speedup = prepared / rates[first][1]
        print(f"\n{name} compared with the original procedure in {first}: {speedup:.2f}×.")
    if options.memory != "none":
        measure_memory(options.memory, options.folder, scratch)


def make_pictures(folder: Path, target: Path, count: int) -> list[Path]:
    """Write ``count`` different JPEGs, made from the pictures of a folder."""
    target.mkdir(parents=True)
    sources = list_pictures(folder)
    paths = []
    for index in range(count):
        path = sources[index % len(sources)]
        picture = decode_picture(path.read_bytes(), path.name, _WHITE, 10**9)
        turn = index // len(sources)
        moved = np.roll(picture, (17 * turn, 11 * turn), (0, 1))[:, :: -1 if turn % 2 else 1]
        paths.append(target / f"{index:05d}.jpg")
        Image.fromarray(moved).save(paths[-1], quality=92)
    return paths


def list_pictures(folder: Path) -> list[Path]:
    kinds = (".jpg", ".jpeg", ".png")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in kinds)


def decode_and_fit(path: Path) -> Picture:
    return fit_picture(decode_picture(path.read_bytes(), path.name, _WHITE, 10**9), 256, "cover")


def describe_machine() -> None:
    facts = Path("/proc/cpuinfo").read_text()
    names = [line for line in facts.splitlines() if "model name" in line]
    sets = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {name}" in facts]
    processor = names[0].partition(":")[2].strip() if names else platform.processor()
    print(f"{processor}, {os.cpu_count()} cores, {', '.join(sets)}.")
    print(
        f"\nA picture takes {_GFLOP_PLANNED:.0f} GFLOP ({_GFLOP_512:.0f} on the original's border "
        "of 128 px, every layer whole)."
    )


def measure_stages(files: list[Path]) -> None:
    """Print the CPU time of everything but the network, on one core."""
    cv2.setNumThreads(1)
    contents = [path.read_bytes() for path in files]
    decoded = [decode_picture(content, "x.jpg", _WHITE, 10**9) for content in contents]
    fitted = [fit_picture(picture, 256, "cover") for picture in decoded]
    weights = load_weights()
    hed = EdgeDetector(create_engine(choose_engine("auto")[0], weights), weights)
    maps = hed.detect(fitted)
    drawings = [clean_edges(edges, 0.5) for edges in maps]
    cv2.setNumThreads(1)
    stages: dict[str, Callable[[], object]] = {
        "decode": lambda: [decode_picture(c, "x.jpg", _WHITE, 10**9) for c in contents],
        "fit": lambda: [fit_picture(picture, 256, "cover") for picture in decoded],
        "clean": lambda: [clean_edges(edges, 0.5) for edges in maps],
        "pair and encode": lambda: [
            encode_png(join_pair(*both)) for both in zip(drawings, fitted, strict=True)
        ],
    }
    size = np.mean([picture.shape[:2] for picture in decoded], axis=0)
    print(f"\n## Stages\n\nSource pictures {size[1]:.0f}×{size[0]:.0f} px on average.\n")
    print("| stage | CPU ms a picture |")
    print("|---|---|")
    total = 0.0
    for stage, work in stages.items():
        cost = best_time(work, 5, time.process_time) / len(files) * 1000
        total += cost
        print(f"| {stage} | {cost:.1f} |")
    prepare = best_time(lambda: [hed._preprocess(p) for p in fitted], 5, time.process_time)
    print(f"| total without the network | {total:.1f} |")
    print(f"| (border and mean, part of the network's time) | {prepare / len(files) * 1000:.1f} |")


def measure_engine(engine: HedEngine, files: list[Path], seconds: float) -> float:
    """Return the pictures a second of an engine that always has a batch."""
    hed = EdgeDetector(engine, load_weights())
    prepared = [hed._preprocess(decode_and_fit(path)) for path in files]
    batches = [
        (np.concatenate([blob for blob, _ in prepared[i : i + engine.batch_size]]), prepared[i][1])
        for i in range(0, len(prepared) - engine.batch_size + 1, engine.batch_size)
    ]
    for future in [engine.submit(*batches[0]) for _ in range(engine.max_in_flight)]:
        future.result()
    waiting: deque[Future[NDArray[np.float32]]] = deque()
    done, start = 0, time.perf_counter()
    for batch in itertools.cycle(batches):
        waiting.append(engine.submit(*batch))
        if len(waiting) > engine.max_in_flight:
            done += len(waiting.popleft().result())
        if time.perf_counter() - start > seconds:
            break
    for future in waiting:
        done += len(future.result())
    return done / (time.perf_counter() - start)


def measure_prepare(folder: Path, engine: str, precision: str) -> float:
    """Return the pictures a second of the command, from the additional pictures of ``many``."""
    one = folder / "one"
    one.mkdir()
    first = next((folder / "few").iterdir())
    (one / first.name).hardlink_to(first)
    times, counts = [], []
    # The first run creates Prefect's database.
    for pictures in (one, folder / "few", folder / "many"):
        environment = {
            **os.environ,
            "ICANVAS_STORE": (folder / "store").as_uri(),
            "ICANVAS_PRECISION": precision,
            "PREFECT_HOME": str(folder / "prefect"),
        }
        command = [sys.executable, "-m", "cli", "prepare", str(pictures), "--engine", engine]
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
        counts.append(len(list(pictures.iterdir())))
    return (counts[2] - counts[1]) / (times[2] - times[1])


def measure_original(engine: HedEngine, files: list[Path], scratch: Path, seconds: float) -> float:
    """Return the pictures a second of the original procedure: one by one, through .mat files."""
    side = 256 + 2 * _ORIGINAL_BORDER
    plan = CropPlan(plan_axis(side, 0), plan_axis(side, 0))
    inner = slice(_ORIGINAL_BORDER, -_ORIGINAL_BORDER)
    mean = np.array(load_weights().mean, np.float32)
    done, start = 0, 0.0
    for path in files:
        picture = decode_and_fit(path)
        pads = [(_ORIGINAL_BORDER, _ORIGINAL_BORDER)] * 2
        padded = np.pad(picture, [*pads, (0, 0)], mode="reflect")
        batch = (padded[..., ::-1].astype(np.float32) - mean).transpose(2, 0, 1)[np.newaxis]
        edges = engine.submit(np.ascontiguousarray(batch), plan).result()[0, inner, inner]
        scipy.io.savemat(scratch / "edges.mat", {"edge_predict": edges})
        stored = scipy.io.loadmat(scratch / "edges.mat")["edge_predict"].astype(np.float32)
        pair = encode_png(join_pair(clean_edges(stored, 0.5), picture))
        (scratch / "pair.png").write_bytes(pair)
        if not start:
            # The first picture includes the creation of the network.
            start = time.perf_counter()
            continue
        done += 1
        if time.perf_counter() - start > seconds:
            break
    return done / (time.perf_counter() - start)


def measure_memory(engine: str, folder: Path, scratch: Path) -> None:
    print("\n## Memory\n\n| pictures in the shard | MiB |")
    print("|---|---|")
    files = make_pictures(folder, scratch / "thousand", 1000)
    script = str(Path(__file__).with_name("memory.py"))
    for count in (100, 1000):
        subset = scratch / f"first-{count}"
        subset.mkdir()
        for path in files[:count]:
            (subset / path.name).hardlink_to(path)
        command = [sys.executable, script, str(subset), "--engine", engine]
        completed = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"| {count:,} | {completed.stdout.strip()} |", flush=True)


def best_time(
    work: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    times = []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


if __name__ == "__main__":
    main()
