"""Measure alternatives in docs/decisions.md within one run: OpenCV's engines, pair formats.

    python benchmarks/decisions.py [FOLDER OF PICTURES]

Times are CPU time of this process, to be less affected by other processes. Compare rows of one run
only.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from hed import EdgeDetector, load_weights
from hed.crop_plan import BORDER, CropPlan, plan_axis
from hed.graph import build_graph
from postprocess import clean_edges, encode_png, fit_picture, join_pair
from sources.pictures import decode_picture

_DEMO = Path(__file__).parents[1] / "sources" / "demo" / "color"
_REPEATS = 3


def measure_cpu_ms(work: Callable[[], object]) -> float:
    """Return the smallest CPU time of a few repeats, in milliseconds."""
    times = []
    for _ in range(_REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times) * 1000


def main() -> None:
    """Print one table a decision."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _DEMO
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png"))[
        :12
    ]
    contents = [path.read_bytes() for path in files]
    decoded = [decode_picture(data, "x.png", (255, 255, 255), 10**9) for data in contents]
    pictures = [fit_picture(picture, 256, "cover") for picture in decoded]
    console = Console()
    console.print(f"{len(pictures)} pictures of {folder}, OpenCV {cv2.__version__}")
    cv2.setNumThreads(1)

    layers = load_weights().layers
    assert layers is not None
    table = Table("HED, 256×256 with its border, one thread", "CPU ms")
    axis = plan_axis(256, BORDER)
    graph = np.frombuffer(build_graph(layers, CropPlan(axis, axis)), np.uint8)
    batch = np.random.default_rng(0).normal(0, 50, (1, 3, axis.input_size, axis.input_size))
    for name, engine in (
        ("classic engine", cv2.dnn.ENGINE_CLASSIC),
        ("new engine", cv2.dnn.ENGINE_NEW),
    ):
        net = cv2.dnn.readNetFromONNX(graph, engine=engine)
        net.setInput(batch.astype(np.float32))
        net.forward()
        table.add_row(name, f"{measure_cpu_ms(net.forward):.0f}")
    console.print(table)

    maps = EdgeDetector.load().detect(pictures)
    drawings = [clean_edges(edges, 0.5) for edges in maps]
    pairs = [join_pair(*both) for both in zip(drawings, pictures, strict=True)]

    count = len(pairs)
    table = Table("Pair format", "encode CPU ms", "decode CPU ms", "kB", "drawing exact")
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
    jpeg.append(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    for name, encode in (
        ("PNG, up filter, run-length (chosen)", encode_png),
        ("PNG, level 1", lambda pair: _encode(pair, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1])),
        ("PNG, level 3", lambda pair: _encode(pair, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 3])),
        ("JPEG, quality 95, 4:4:4", lambda pair: _encode(pair, ".jpg", jpeg)),
        ("WebP, lossless", lambda pair: _encode(pair, ".webp", [cv2.IMWRITE_WEBP_QUALITY, 101])),
    ):
        encoded = [encode(pair) for pair in pairs]
        exact = all(
            (_decode(data)[:, :256] == pair[:, :256]).all()
            for data, pair in zip(encoded, pairs, strict=True)
        )
        table.add_row(
            name,
            f"{measure_cpu_ms(lambda e=encode: [e(pair) for pair in pairs]) / count:.1f}",
            f"{measure_cpu_ms(lambda d=encoded: [_decode(data) for data in d]) / count:.1f}",
            f"{np.mean([len(data) for data in encoded]) / 1000:.0f}",
            "yes" if exact else "no",
        )
    console.print(table)


def _encode(pair: np.ndarray, kind: str, options: list[int]) -> bytes:
    return cv2.imencode(kind, pair[..., ::-1], options)[1].tobytes()


def _decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


if __name__ == "__main__":
    main()
