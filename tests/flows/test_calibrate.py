"""Calibration through a real Prefect server."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from config.errors import InputError
from flows.calibrate import calibrate
from flows.prepare import prepare
from hed import EdgeDetector
from postprocess import DrawingSide, clean_edges, fit_picture, join_pair
from sources import PrepareOptions
from storage import LocalStore
from storage.pair_sets import read_current
from tests.conftest import draw_scene, encode

pytestmark = pytest.mark.usefixtures("prefect_api")


def write_published_pairs(folder: Path, drawing: DrawingSide = "left") -> Path:
    """Write pairs whose drawings were made at threshold 0.7."""
    folder.mkdir()
    hed = EdgeDetector.load()
    pictures = [fit_picture(draw_scene(seed, 120, 120), 256, "cover") for seed in range(3)]
    for number, edges in enumerate(hed.detect(pictures)):
        pair = join_pair(clean_edges(edges, 0.7), pictures[number])
        if drawing == "right":
            pair = np.roll(pair, 256, axis=1)
        (folder / f"{number}.png").write_bytes(encode(pair))
    return folder


@pytest.mark.slow
def test_calibration_finds_threshold_of_published_drawings(
    tmp_path: Path, store: LocalStore
) -> None:
    folder = write_published_pairs(tmp_path / "drawn")
    calibration = calibrate(str(folder), pictures=10)
    assert calibration.pictures == 3
    assert calibration.best.threshold == pytest.approx(0.7)
    assert [agreement.f1 for agreement in calibration.best.line_matches] == [1, 1]
    assert calibration.default_threshold == 0.5
    other_f1 = [p.line_matches[0].f1 for p in calibration.results if abs(p.threshold - 0.7) > 0.04]
    assert max(other_f1) < 1, "F1 does not depend on the threshold"

    rows = list(csv.DictReader(io.StringIO(store.get(f"{calibration.folder}/table.csv").decode())))
    assert [float(row["threshold"]) for row in rows] == [p.threshold for p in calibration.results]
    best = next(row for row in rows if float(row["threshold"]) == pytest.approx(0.7))
    assert float(best["f1_2px"]) == float(best["precision_1px"]) == float(best["recall_1px"]) == 1
    plot = Image.open(io.BytesIO(store.get(f"{calibration.folder}/plot.png")))
    assert plot.width > 600

    # Another calibration of the prepared data set, with fewer pictures, is stored beside it.
    fewer = calibrate("drawn", pictures=2)
    assert fewer.pictures == 2
    assert fewer.folder != calibration.folder
    assert store.exists(f"{calibration.folder}/settings.json")


@pytest.mark.slow
def test_calibration_accepts_drawings_on_the_right(tmp_path: Path, store: LocalStore) -> None:
    swapped = write_published_pairs(tmp_path / "swapped", "right")
    calibration = calibrate(str(swapped), pictures=2)
    assert calibration.best.threshold == pytest.approx(0.7)
    assert [agreement.f1 for agreement in calibration.best.line_matches] == [1, 1]
    # Re-extracted drawings were made by HED, although the files hold published ones.
    prepare(str(swapped), PrepareOptions(paired=True, re_extract=True))
    with pytest.raises(InputError, match="without --re-extract"):
        calibrate(str(swapped))


def test_calibration_needs_published_drawings(
    make_folder: Callable[[int], Path], store: LocalStore
) -> None:
    folder = make_folder(1)
    prepare(str(folder))
    with pytest.raises(InputError, match="were extracted by HED"):
        calibrate(str(folder))
    with pytest.raises(InputError, match="The drawings of demo were extracted by HED"):
        calibrate("demo")
    with pytest.raises(InputError, match="contains no pairs"):
        calibrate(str(folder), name="other")
    assert read_current(store, "other") is None, "a pair set without pairs is in use"
