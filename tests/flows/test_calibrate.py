"""The threshold sweep through a real Prefect server."""

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
from postprocess import Side, clean_edges, fit_picture, join_pair
from sources import Choices
from storage import LocalStore
from storage.pair_sets import read_current
from tests.conftest import draw_scene, encode

pytestmark = pytest.mark.usefixtures("prefect_api")


def write_drawn(folder: Path, drawing: Side = "left") -> Path:
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
def test_the_threshold_of_published_drawings_is_found(tmp_path: Path, store: LocalStore) -> None:
    drawn = write_drawn(tmp_path / "drawn")
    found = calibrate(str(drawn), pictures=10)
    assert found.pictures == 3
    assert found.best.threshold == pytest.approx(0.7)
    assert [agreement.f1 for agreement in found.best.agreements] == [1, 1]
    assert found.default == 0.5
    others = [p.agreements[0].f1 for p in found.points if abs(p.threshold - 0.7) > 0.04]
    assert max(others) < 1, "every threshold is as good: the sweep tells nothing"

    rows = list(csv.DictReader(io.StringIO(store.get(f"{found.folder}/table.csv").decode())))
    assert [float(row["threshold"]) for row in rows] == [p.threshold for p in found.points]
    best = next(row for row in rows if float(row["threshold"]) == pytest.approx(0.7))
    assert float(best["f1_2px"]) == float(best["precision_1px"]) == float(best["recall_1px"]) == 1
    plot = Image.open(io.BytesIO(store.get(f"{found.folder}/plot.png")))
    assert plot.width > 600

    # Again, from what is prepared, with fewer pictures: beside the other.
    fewer = calibrate("drawn", pictures=2)
    assert fewer.pictures == 2
    assert fewer.folder != found.folder
    assert store.exists(f"{found.folder}/settings.json")


@pytest.mark.slow
def test_drawings_on_the_right_count_as_well(tmp_path: Path, store: LocalStore) -> None:
    swapped = write_drawn(tmp_path / "swapped", "right")
    found = calibrate(str(swapped), pictures=2)
    assert found.best.threshold == pytest.approx(0.7)
    assert [agreement.f1 for agreement in found.best.agreements] == [1, 1]
    # Drawings extracted anew tell nothing of the weights, though the files came with some.
    prepare(str(swapped), Choices(paired=True, re_extract=True))
    with pytest.raises(InputError, match="without --re-extract"):
        calibrate(str(swapped))


def test_hed_is_not_calibrated_against_itself(
    make_folder: Callable[[int], Path], store: LocalStore
) -> None:
    folder = make_folder(1)
    prepare(str(folder))
    with pytest.raises(InputError, match="made by HED itself"):
        calibrate(str(folder))
    with pytest.raises(InputError, match="drawings of demo are made by HED"):
        calibrate("demo")
    with pytest.raises(InputError, match="holds no pair"):
        calibrate(str(folder), name="other")
    assert read_current(store, "other") is None, "a set without pairs is in use"
