import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from config.errors import SourceError
from sources import DatasetConfig, acquire, load_catalogue, load_sketches, read_sketches
from sources.catalogue import describe_path
from storage import LocalStore, keys
from storage.pair_sets import CurrentPairs, swap_current
from tests.conftest import draw_scene, encode


def with_sketches(path: Path) -> DatasetConfig:
    return describe_path(path, "mine").model_copy(update={"sketches": str(path)})


def drawing(number: int) -> bytes:
    return encode(np.full((8, 8, 3), number, np.uint8))


def test_demo_has_sketches() -> None:
    sketches = read_sketches(load_catalogue()["demo"])
    assert len(sketches) == 8
    for sketch in sketches.values():
        assert sketch.shape == (256, 256, 3)
        assert np.median(sketch) == 255
        assert sketch.min() < 50


def test_data_set_without_sketches_returns_none(tmp_path: Path) -> None:
    assert read_sketches(describe_path(tmp_path, "mine")) == {}


def test_same_sketches_are_read_from_a_folder_and_an_archive(tmp_path: Path) -> None:
    folder = tmp_path / "sketches"
    folder.mkdir()
    with zipfile.ZipFile(tmp_path / "sketches.zip", "w") as archive:
        for number in (4, 2, 0, 1, 3):
            (folder / f"{number}.png").write_bytes(drawing(number))
            archive.writestr(f"{number}.png", drawing(number))
        archive.writestr("README.md", "who drew them")
    (folder / "README.md").write_text("who drew them")
    for path in (folder, tmp_path / "sketches.zip"):
        sketches = read_sketches(with_sketches(path), limit=3)
        assert [(name, sketch.max()) for name, sketch in sketches.items()] == [
            ("0.png", 0),
            ("2.png", 2),
            ("4.png", 4),
        ]


def test_sketches_of_a_prepared_data_set_are_loaded_by_name(
    tmp_path: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kids"
    folder.mkdir()
    for number in range(5):
        scene = draw_scene(number, 64, 64)
        (folder / f"{number}.png").write_bytes(encode(scene))
    (folder / "notes.txt").write_text("who drew them")
    kids = describe_path(folder, "kids").model_copy(update={"shard_size": 2})
    raw = acquire(kids, store)
    settings = json.dumps({"raw": raw.fingerprint}).encode()
    store.put(keys.pair_settings("kids", "0" * 12), settings)
    swap_current(store, "kids", CurrentPairs(fingerprint="0" * 12, source=str(folder)), None)
    shoes = describe_path(tmp_path, "shoes")
    sketches = load_sketches(store, shoes, "kids", 3)
    assert list(sketches) == ["0.png", "2.png", "4.png"]
    assert (sketches["2.png"] == draw_scene(2, 64, 64)).all()
    # A folder of this name takes precedence.
    monkeypatch.chdir(tmp_path)
    (folder / "3.png").unlink()
    assert list(load_sketches(store, shoes, "kids", 9)) == ["0.png", "1.png", "2.png", "4.png"]
    assert load_sketches(store, shoes, "", 3) == {}
    with pytest.raises(SourceError, match="nobody does not exist"):
        load_sketches(store, shoes, "nobody", 3)


def test_invalid_sketches_are_reported(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing does not exist"):
        read_sketches(with_sketches(tmp_path / "missing"))
    with pytest.raises(SourceError, match=r"mine: sketches: .* holds no picture"):
        read_sketches(with_sketches(tmp_path))
    (tmp_path / "truncated.png").write_bytes(drawing(1)[:40])
    with pytest.raises(SourceError, match=r"mine: sketches: truncated\.png in .* cannot be used"):
        read_sketches(with_sketches(tmp_path))
