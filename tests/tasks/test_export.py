"""Complete exports, from both stores."""

import io
import json
import tarfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from config.errors import NotFoundError, SourceError
from postprocess import DrawingSide
from sources import DatasetConfig
from sources.catalogue import describe_path
from storage import LocalStore, ObjectStore
from storage.s3 import S3Store
from tasks.export import ExportedPairs, export_pairs
from tasks.export_formats import FormatName
from tests.conftest import encode
from tests.model.pairs import make_pair, publish_test_pairs
from tests.published_pairs import draw_published, publish_folder
from tests.tasks.test_drawing_side import publish_pairs_of as publish_ready

SPLITS = "ttrvtvt"
FORMATS: tuple[FormatName, ...] = get_args(FormatName)


def export_tiny(
    store: ObjectStore, folder: Path, format_name: FormatName = "folder"
) -> ExportedPairs:
    return export_pairs(
        store, describe_path(Path("/nowhere/tiny"), "tiny"), "pairs", folder, format_name
    )


def load_image(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def is_close(actual: NDArray[np.uint8], expected: NDArray[np.uint8]) -> bool:
    return actual.shape == expected.shape and bool(np.abs(actual.astype(int) - expected).mean() < 2)


def read_json_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def read_members(tar: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(tar) as opened:
        files = [(member.name, opened.extractfile(member)) for member in opened]
        return [(name, file.read()) for name, file in files if file is not None]


def list_ids(splits: str, letter: str) -> list[str]:
    return [f"{number:08d}" for number, found in enumerate(splits) if found == letter]


def test_folder_export_has_pix2pix_layout(store: LocalStore, tmp_path: Path) -> None:
    publish_test_pairs(store, SPLITS)
    exported = export_tiny(store, tmp_path / "out")
    assert (exported.folder, exported.train, exported.val) == (tmp_path / "out", 4, 2)
    listed = read_json_lines(tmp_path / "out" / "metadata.jsonl")
    for split, letter in (("train", "t"), ("val", "v")):
        # As pytorch-CycleGAN-and-pix2pix reads them: all images of the phase's folder, in halves.
        paths = sorted((tmp_path / "out" / split).iterdir())
        assert [path.name for path in paths] == [f"{key}.jpg" for key in list_ids(SPLITS, letter)]
        for path in paths:
            with Image.open(path) as image:
                assert image.size == (512, 256)
                drawing = image.convert("RGB").crop((0, 0, 256, 256))
                picture = image.convert("RGB").crop((256, 0, 512, 256))
            lines, scene = make_pair(int(path.stem))
            assert is_close(np.asarray(drawing), np.repeat(lines[..., np.newaxis], 3, axis=2))
            assert is_close(np.asarray(picture), scene)
            (metadata,) = (row for row in listed if row["file_name"] == f"{split}/{path.name}")
            assert metadata["source_path"] == f"{int(path.stem)}.png"
            assert metadata["edge_density"] == np.mean(lines == 0)
    assert len(listed) == 6
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("train", "val", "metadata.jsonl", "README.md")
    }


def test_hf_export_has_two_images_per_row(store: LocalStore, tmp_path: Path) -> None:
    publish_test_pairs(store, SPLITS)
    export_tiny(store, tmp_path / "out", "hf")
    for split, letter in (("train", "t"), ("val", "v")):
        folder = tmp_path / "out" / split
        rows = read_json_lines(folder / "metadata.jsonl")
        assert [row["id"] for row in rows] == list_ids(SPLITS, letter)
        for row in rows:
            lines, scene = make_pair(int(str(row["id"])))
            drawing = load_image((folder / str(row["drawing_file_name"])).read_bytes())
            assert (drawing == lines).all()
            assert is_close(load_image((folder / str(row["file_name"])).read_bytes()), scene)
            assert (row["width"], row["height"]) == (256, 256)
        assert len(list(folder.rglob("*.*"))) == 2 * len(rows) + 1


def test_webdataset_export_groups_files_by_key(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.export_formats._SAMPLES_PER_SHARD", 3)
    publish_test_pairs(store, SPLITS)
    export_tiny(store, tmp_path / "out", "webdataset")
    shards = sorted(path.name for path in (tmp_path / "out").glob("*.tar"))
    assert shards == ["train-000000.tar", "train-000001.tar", "val-000000.tar"]
    assert "`train-{000000..000001}.tar`" in (tmp_path / "out" / "README.md").read_text()
    keys = []
    for name in shards:
        members = read_members(tmp_path / "out" / name)
        # The files of a sample are adjacent: their names are equal up to the first dot.
        for start in range(0, len(members), 3):
            names, contents = zip(*members[start : start + 3], strict=True)
            key = names[0].partition(".")[0]
            assert names == (f"{key}.drawing.png", f"{key}.json", f"{key}.picture.jpg")
            lines, scene = make_pair(int(key))
            assert (load_image(contents[0]) == lines).all()
            assert json.loads(contents[1])["id"] == key
            assert is_close(load_image(contents[2]), scene)
            keys.append((name, key))
    train, val = list_ids(SPLITS, "t"), list_ids(SPLITS, "v")
    numbers = [0, 0, 0, 1, 2, 2]
    assert keys == [*zip((shards[number] for number in numbers), [*train, *val], strict=True)]


def test_exports_of_both_stores_are_equal(
    store: LocalStore, s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_test_pairs(store, SPLITS)
    for key in store.list_keys("datasets"):
        s3_store.put(key, store.get(key))
    # One request per pair would be slow; each shard is read once.
    monkeypatch.setattr(s3_store, "open_range", None)
    opened, local_copy = [], s3_store.local_copy

    def count(key: str) -> AbstractContextManager[Path]:
        opened.append(key)
        return local_copy(key)

    monkeypatch.setattr(s3_store, "local_copy", count)
    for format_name in FORMATS:
        export_tiny(store, tmp_path / "local" / format_name, format_name)
        export_tiny(s3_store, tmp_path / "s3" / format_name, format_name)
    assert len(opened) == 2 * len(FORMATS)
    assert read_files(tmp_path / "local") == read_files(tmp_path / "s3")


@pytest.mark.parametrize("drawing", ["left", "right"])
def test_published_pairs_are_copied_or_reencoded(
    store: LocalStore, tmp_path: Path, drawing: DrawingSide
) -> None:
    folder = publish_folder(tmp_path / "published", 8, drawing)
    odd = 'a "b"\n\u2028é😀.jpg'
    (folder / "train" / odd).write_bytes(encode(draw_published(20, drawing), "JPEG"))
    (folder / "train" / "c.png").write_bytes(encode(draw_published(21, drawing)))
    plan, pair_set = publish_ready(store, folder, validation=("val/",), shard_size=4)
    for format_name in FORMATS:
        out = tmp_path / format_name
        written = export_pairs(store, plan.dataset, pair_set.fingerprint, out, format_name)
        assert (written.train, written.val) == (pair_set.train, pair_set.val) == (8, 2)
    rows = read_json_lines(tmp_path / "folder" / "metadata.jsonl")
    assert {row["source_path"] for row in rows} == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*.*")
    }
    for row in rows:
        source = (folder / str(row["source_path"])).read_bytes()
        content = (tmp_path / "folder" / str(row["file_name"])).read_bytes()
        as_it_is = drawing == "left" and not str(row["source_path"]).endswith("png")
        assert (content == source) == as_it_is
        expected = (
            load_image(source) if drawing == "left" else np.roll(load_image(source), 256, axis=1)
        )
        assert is_close(load_image(content), expected)
    split = tmp_path / "hf" / "train"
    by_path = {row["source_path"]: row for row in read_json_lines(split / "metadata.jsonl")}
    row = by_path[f"train/{odd}"]
    lines = load_image((split / str(row["drawing_file_name"])).read_bytes())
    assert (lines == draw_published(20)[:, :256, 0]).all()
    assert (row["width"], row["height"]) == (512, 256)
    metadata = dict(read_members(tmp_path / "webdataset" / "train-000000.tar"))[f"{row['id']}.json"]
    assert json.loads(metadata)["source_path"] == f"train/{odd}"


def test_empty_or_missing_pair_set_raises(store: LocalStore, tmp_path: Path) -> None:
    publish_test_pairs(store, "rr")
    with pytest.raises(SourceError, match="contains no pairs"):
        export_tiny(store, tmp_path / "out")
    dataset: DatasetConfig = describe_path(Path("/nowhere/tiny"), "tiny")
    with pytest.raises(
        NotFoundError, match=r"Pair set 0123 of tiny does not exist .*icanvas prepare tiny"
    ):
        export_pairs(store, dataset, "0123", tmp_path / "out", "folder")
    assert not (tmp_path / "out").exists()


def test_empty_split_writes_no_files(store: LocalStore, tmp_path: Path) -> None:
    publish_test_pairs(store, "ttr")
    for format_name in FORMATS:
        exported = export_tiny(store, tmp_path / format_name, format_name)
        assert (exported.train, exported.val) == (2, 0)
        assert not list((tmp_path / format_name).glob("val*"))
