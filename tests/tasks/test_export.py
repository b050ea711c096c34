"""Whole exports, from both stores."""

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
from postprocess import Side
from sources import DataSet
from sources.catalogue import describe_path
from storage import LocalStore, ObjectStore
from storage.s3 import S3Store
from tasks.export import Export, export_pairs
from tasks.export_formats import FormatName
from tests.conftest import encode
from tests.model.pairs import draw_halves, publish
from tests.published_pairs import draw_published, publish_folder
from tests.tasks.test_drawing_side import publish as publish_ready

SPLITS = "ttrvtvt"
FORMATS: tuple[FormatName, ...] = get_args(FormatName)


def tiny(store: ObjectStore, folder: Path, form: FormatName = "folder") -> Export:
    return export_pairs(store, describe_path(Path("/nowhere/tiny"), "tiny"), "pairs", folder, form)


def load(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def close(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> bool:
    return found.shape == wanted.shape and bool(np.abs(found.astype(int) - wanted).mean() < 2)


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def members_of(tar: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(tar) as opened:
        files = [(member.name, opened.extractfile(member)) for member in opened]
        return [(name, file.read()) for name, file in files if file is not None]


def ids_of(splits: str, letter: str) -> list[str]:
    return [f"{number:08d}" for number, found in enumerate(splits) if found == letter]


def test_pix2pix_reads_a_folder(store: LocalStore, tmp_path: Path) -> None:
    publish(store, SPLITS)
    made = tiny(store, tmp_path / "out")
    assert (made.folder, made.train, made.val) == (tmp_path / "out", 4, 2)
    listed = lines_of(tmp_path / "out" / "metadata.jsonl")
    for split, letter in (("train", "t"), ("val", "v")):
        # As pytorch-CycleGAN-and-pix2pix: all pictures of the phase's folder, cut in the middle.
        paths = sorted((tmp_path / "out" / split).iterdir())
        assert [path.name for path in paths] == [f"{key}.jpg" for key in ids_of(SPLITS, letter)]
        for path in paths:
            with Image.open(path) as image:
                assert image.size == (512, 256)
                drawing = image.convert("RGB").crop((0, 0, 256, 256))
                picture = image.convert("RGB").crop((256, 0, 512, 256))
            lines, scene = draw_halves(int(path.stem))
            assert close(np.asarray(drawing), np.repeat(lines[..., np.newaxis], 3, axis=2))
            assert close(np.asarray(picture), scene)
            (facts,) = (row for row in listed if row["file_name"] == f"{split}/{path.name}")
            assert facts["source_path"] == f"{int(path.stem)}.png"
            assert facts["edge_density"] == np.mean(lines == 0)
    assert len(listed) == 6
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("train", "val", "metadata.jsonl", "README.md")
    }


def test_imagefolder_finds_two_pictures_a_line(store: LocalStore, tmp_path: Path) -> None:
    publish(store, SPLITS)
    tiny(store, tmp_path / "out", "hf")
    for split, letter in (("train", "t"), ("val", "v")):
        folder = tmp_path / "out" / split
        rows = lines_of(folder / "metadata.jsonl")
        assert [row["id"] for row in rows] == ids_of(SPLITS, letter)
        for row in rows:
            lines, scene = draw_halves(int(str(row["id"])))
            drawing = load((folder / str(row["drawing_file_name"])).read_bytes())
            assert (drawing == lines).all()
            assert close(load((folder / str(row["file_name"])).read_bytes()), scene)
            assert (row["width"], row["height"]) == (256, 256)
        assert len(list(folder.rglob("*.*"))) == 2 * len(rows) + 1


def test_a_tar_holds_samples_by_key(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.export_formats._SHARD_SAMPLES", 3)
    publish(store, SPLITS)
    tiny(store, tmp_path / "out", "webdataset")
    shards = sorted(path.name for path in (tmp_path / "out").glob("*.tar"))
    assert shards == ["train-000000.tar", "train-000001.tar", "val-000000.tar"]
    assert "`train-{000000..000001}.tar`" in (tmp_path / "out" / "README.md").read_text()
    keys = []
    for name in shards:
        members = members_of(tmp_path / "out" / name)
        # What belongs together stands together: up to the first dot the names are the same.
        for start in range(0, len(members), 3):
            names, contents = zip(*members[start : start + 3], strict=True)
            key = names[0].partition(".")[0]
            assert names == (f"{key}.drawing.png", f"{key}.json", f"{key}.picture.jpg")
            lines, scene = draw_halves(int(key))
            assert (load(contents[0]) == lines).all()
            assert json.loads(contents[1])["id"] == key
            assert close(load(contents[2]), scene)
            keys.append((name, key))
    train, val = ids_of(SPLITS, "t"), ids_of(SPLITS, "v")
    numbers = [0, 0, 0, 1, 2, 2]
    assert keys == [*zip((shards[number] for number in numbers), [*train, *val], strict=True)]


def test_both_stores_give_the_same_files(
    store: LocalStore, s3_store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, SPLITS)
    for key in store.list("datasets"):
        s3_store.put(key, store.get(key))
    # A request a pair would be slow, and so would a shard twice.
    monkeypatch.setattr(s3_store, "open_range", None)
    opened, real = [], s3_store.open_local

    def count(key: str) -> AbstractContextManager[Path]:
        opened.append(key)
        return real(key)

    monkeypatch.setattr(s3_store, "open_local", count)
    for form in FORMATS:
        tiny(store, tmp_path / "local" / form, form)
        tiny(s3_store, tmp_path / "s3" / form, form)
    assert len(opened) == 2 * len(FORMATS)
    assert everything(tmp_path / "local") == everything(tmp_path / "s3")


@pytest.mark.parametrize("drawing", ["left", "right"])
def test_published_pairs_are_copied_or_turned(
    store: LocalStore, tmp_path: Path, drawing: Side
) -> None:
    folder = publish_folder(tmp_path / "published", 8, drawing)
    odd = 'a "b"\n\u2028é😀.jpg'
    (folder / "train" / odd).write_bytes(encode(draw_published(20, drawing), "JPEG"))
    (folder / "train" / "c.png").write_bytes(encode(draw_published(21, drawing)))
    plan, made = publish_ready(store, folder, validation=("val/",), shard_size=4)
    for form in FORMATS:
        out = tmp_path / form
        written = export_pairs(store, plan.dataset, made.fingerprint, out, form)
        assert (written.train, written.val) == (made.train, made.val) == (8, 2)
    rows = lines_of(tmp_path / "folder" / "metadata.jsonl")
    assert {row["source_path"] for row in rows} == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*.*")
    }
    for row in rows:
        source = (folder / str(row["source_path"])).read_bytes()
        content = (tmp_path / "folder" / str(row["file_name"])).read_bytes()
        as_it_is = drawing == "left" and not str(row["source_path"]).endswith("png")
        assert (content == source) == as_it_is
        wanted = load(source) if drawing == "left" else np.roll(load(source), 256, axis=1)
        assert close(load(content), wanted)
    split = tmp_path / "hf" / "train"
    by_path = {row["source_path"]: row for row in lines_of(split / "metadata.jsonl")}
    found = by_path[f"train/{odd}"]
    lines = load((split / str(found["drawing_file_name"])).read_bytes())
    assert (lines == draw_published(20)[:, :256, 0]).all()
    assert (found["width"], found["height"]) == (512, 256)
    facts = dict(members_of(tmp_path / "webdataset" / "train-000000.tar"))[f"{found['id']}.json"]
    assert json.loads(facts)["source_path"] == f"train/{odd}"


def test_a_set_without_pairs_or_of_another_name_is_told(store: LocalStore, tmp_path: Path) -> None:
    publish(store, "rr")
    with pytest.raises(SourceError, match="holds no pair"):
        tiny(store, tmp_path / "out")
    other: DataSet = describe_path(Path("/nowhere/tiny"), "tiny")
    with pytest.raises(NotFoundError, match=r"no pair set 0123 of tiny .*icanvas prepare tiny"):
        export_pairs(store, other, "0123", tmp_path / "out", "folder")
    assert not (tmp_path / "out").exists()


def test_a_split_without_pairs_makes_no_files(store: LocalStore, tmp_path: Path) -> None:
    publish(store, "ttr")
    for form in FORMATS:
        made = tiny(store, tmp_path / form, form)
        assert (made.train, made.val) == (2, 0)
        assert not list((tmp_path / form).glob("val*"))
