import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from storage.manifest import ManifestRow
from tasks.export_formats import (
    FORMATS,
    FormatName,
    encode_side_by_side,
    list_shard_names,
    open_imagefolder_writer,
)
from tests.conftest import encode
from tests.published_pairs import draw_published


@given(st.lists(st.text(max_size=20), max_size=5), st.sampled_from(["folder", "hf"]))
@settings(max_examples=25, deadline=None)
def test_any_source_path_is_one_json_line(paths: list[str], format_name: FormatName) -> None:
    files = {"jpg": b"", "picture.jpg": b"", "drawing.png": b""}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with FORMATS[format_name].open_writer(folder) as add:
            for number, path in enumerate(paths):
                add(ManifestRow(f"{number:08d}", path, 0, "pair", split="train"), files)
        tables = list(folder.rglob("metadata.jsonl"))
        lines = [line for table in tables for line in table.read_text().splitlines()]
    assert [json.loads(line)["source_path"] for line in lines] == paths


@pytest.mark.parametrize("turn", [1, 2, 3, 4])
def test_jpeg_with_exif_rotation_is_reencoded(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    buffer = io.BytesIO()
    Image.fromarray(draw_published(1)).save(buffer, "JPEG", exif=exif, quality=95)
    content = buffer.getvalue()
    assert (encode_side_by_side(content, "left")["jpg"] == content) == (turn == 1)


def test_encoded_pairs_are_rgb_with_full_chroma() -> None:
    gray = io.BytesIO()
    Image.fromarray(draw_published(2)).convert("L").save(gray, "PNG")
    for content in (encode(draw_published(2)), gray.getvalue()):
        with Image.open(io.BytesIO(encode_side_by_side(content, "left")["jpg"])) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (512, 256))
            assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
            difference = np.abs(np.asarray(image).astype(int) - draw_published(2))
        assert difference.mean() < 1


def test_imagefolder_folders_stay_below_hub_limit(tmp_path: Path) -> None:
    """The Hugging Face Hub wants fewer than 10,000 entries per folder."""
    with open_imagefolder_writer(tmp_path) as add:
        for number in range(2500):
            row = ManifestRow(f"{number:08d}", "a.png", 0, "pair", split="train")
            add(row, {"picture.jpg": b"", "drawing.png": b""})
    folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert max(len(list(folder.iterdir())) for folder in folders) == 1000
    assert len(list(tmp_path.rglob("*.png"))) == 2500


@pytest.mark.parametrize(("samples", "shards"), [(0, 0), (1, 1), (1000, 1), (1001, 2)])
def test_shard_names_are_numbered(samples: int, shards: int) -> None:
    names = list_shard_names("train", samples)
    assert names == ["train-000000.tar", "train-000001.tar"][:shards]
