import zipfile
from pathlib import Path

import numpy as np
import pytest

from datasets import DataSet, load_catalogue, read_sketches
from datasets.catalogue import describe_path
from errors import SourceError
from tests.conftest import encode


def with_sketches(path: Path) -> DataSet:
    return describe_path(path, "mine").model_copy(update={"sketches": str(path)})


def drawing(number: int) -> bytes:
    return encode(np.full((8, 8, 3), number, np.uint8))


def test_the_demo_has_line_drawings() -> None:
    sketches = read_sketches(load_catalogue()["demo"])
    assert len(sketches) == 8
    for sketch in sketches.values():
        assert sketch.shape == (256, 256, 3)
        assert np.median(sketch) == 255
        assert sketch.min() < 50


def test_most_sets_have_none(tmp_path: Path) -> None:
    assert read_sketches(describe_path(tmp_path, "mine")) == {}


def test_the_same_few_are_taken_from_a_folder_and_an_archive(tmp_path: Path) -> None:
    folder = tmp_path / "sketches"
    folder.mkdir()
    with zipfile.ZipFile(tmp_path / "sketches.zip", "w") as archive:
        for number in (4, 2, 0, 1, 3):
            (folder / f"{number}.png").write_bytes(drawing(number))
            archive.writestr(f"{number}.png", drawing(number))
        archive.writestr("README.md", "who drew them")
    (folder / "README.md").write_text("who drew them")
    for path in (folder, tmp_path / "sketches.zip"):
        found = read_sketches(with_sketches(path), most=3)
        assert [(name, sketch.max()) for name, sketch in found.items()] == [
            ("0.png", 0),
            ("2.png", 2),
            ("4.png", 4),
        ]


def test_faults_are_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing does not exist"):
        read_sketches(with_sketches(tmp_path / "missing"))
    with pytest.raises(SourceError, match=r"mine: sketches: .* holds no picture"):
        read_sketches(with_sketches(tmp_path))
    (tmp_path / "torn.png").write_bytes(drawing(1)[:40])
    with pytest.raises(SourceError, match=r"mine: sketches: torn\.png in .* cannot be used"):
        read_sketches(with_sketches(tmp_path))
