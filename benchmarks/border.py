"""Compare HED's edges on several borders with the authors' network; results in docs/weights.md.

    python -m benchmarks.border PICTURE …

Each picture, fitted to 256x256, runs through the authors' Caffe network (reimplemented in PyTorch)
on 128 px of reflected border, with the default weights, and through ours on other borders.
"""

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from hed import EdgeDetector
from postprocess import clean_edges, compare_drawings, fit_picture
from sources.pictures import decode_picture
from tests.hed.networks import pad_reflect, run_caffe

_BORDERS = (130, 114, 98, 82, 66, 128, 96, 64)
_ORIGINAL = 128


def main() -> None:
    """Print one row a border."""
    detectors = {border: EdgeDetector.load(border=border) for border in _BORDERS}
    weights = detectors[_BORDERS[0]].weights
    assert weights.layers is not None
    rows: dict[int, list[tuple[float, float, float]]] = {border: [] for border in _BORDERS}
    for path in map(Path, sys.argv[1:]):
        decoded = decode_picture(path.read_bytes(), path.name, (255, 255, 255), 10**9)
        picture = fit_picture(decoded, 256, "cover")
        bgr = (picture[..., ::-1] - np.array(weights.mean)).astype(np.float32)
        batch = np.ascontiguousarray(bgr.transpose(2, 0, 1)[np.newaxis])
        padding = (_ORIGINAL, _ORIGINAL)
        inner = slice(_ORIGINAL, -_ORIGINAL)
        expected = run_caffe(dict(weights.layers), pad_reflect(batch, padding, padding))[
            inner, inner
        ]
        for border, hed in detectors.items():
            (edge_map,) = hed.detect([picture])
            difference = np.abs(edge_map - expected)
            lines = compare_drawings(clean_edges(edge_map, 0.5), clean_edges(expected, 0.5), 1)
            rows[border].append((float(difference.max()), float(difference.mean()), lines.f1))
    table = Table("border", "largest difference", "mean", "F1 at 1 px", "lowest F1")
    for border, values in rows.items():
        largest, mean, f1 = np.array(values).T
        table.add_row(
            str(border),
            *(f"{largest.max():.2g}", f"{mean.mean():.2g}", f"{f1.mean():.4f}", f"{f1.min():.4f}"),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
