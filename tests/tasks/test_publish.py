import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from config.errors import IntegrityError
from sources import acquire
from storage import LocalStore
from storage.manifest import ManifestRow, rows_from_parquet, rows_to_parquet
from storage.pair_sets import is_published, read_current, read_manifest
from tasks.publish import publish_pairs
from tests.conftest import draw_scene, encode
from tests.storage.contents import observe_calls
from tests.tasks.test_extract import extract_all, make_quick_dataset


def test_published_pair_set_is_complete(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    folder = make_folder(4)
    (folder / "<b>notes & more.txt").write_text("hello")
    dataset = make_quick_dataset(folder, shard_size=2, val_share=0.5)
    plan, rows = extract_all(store, dataset)
    pair_set = publish_pairs(plan, acquire(dataset, store), store)
    assert pair_set.train + pair_set.val == 4
    assert pair_set.rejected == {"not_a_picture": 1}
    assert pair_set.warnings == []
    assert read_manifest(store, pair_set.dataset, pair_set.fingerprint) == rows
    current = read_current(store, pair_set.dataset)
    assert current is not None
    assert current.fingerprint == pair_set.fingerprint
    assert pair_set.contact_sheet is not None
    with Image.open(pair_set.contact_sheet) as sheet:
        assert sheet.size == (3 * 516 + 4, 2 * 260 + 4)
    page = Path(pair_set.report).read_text()
    assert "data:image/jpeg;base64," in page
    assert "&lt;b&gt;notes &amp; more.txt" in page
    assert "<b>notes" not in page
    assert "http" not in page.replace("http-equiv", ""), "the page loads remote resources"


def test_publishing_is_idempotent(store: LocalStore, make_folder: Callable[[int], Path]) -> None:
    dataset = make_quick_dataset(make_folder(2))
    plan, _ = extract_all(store, dataset)
    raw = acquire(dataset, store)
    first = publish_pairs(plan, raw, store)
    objects = {key: store.get(key) for key in store.list_keys("datasets")}
    assert publish_pairs(plan, raw, store) == first
    assert {key: store.get(key) for key in store.list_keys("datasets")} == objects


def test_pair_set_without_pairs_is_reported(store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    dataset = make_quick_dataset(folder)
    plan, _ = extract_all(store, dataset)
    pair_set = publish_pairs(plan, acquire(dataset, store), store)
    assert (pair_set.train, pair_set.val, pair_set.contact_sheet) == (0, 0, None)
    assert "No file of this source became a pair" in Path(pair_set.report).read_text()


def test_missing_row_raises(store: LocalStore, make_folder: Callable[[int], Path]) -> None:
    dataset = make_quick_dataset(make_folder(3))
    plan, _ = extract_all(store, dataset)
    part = f"{plan.folder}/parts/00000.parquet"
    rows: list[ManifestRow] = rows_from_parquet(store.get(part))
    store.put(part, rows_to_parquet(rows[:-1]))
    with pytest.raises(IntegrityError, match="3 rows in, 2 pairs"):
        publish_pairs(plan, acquire(dataset, store), store)
    assert not is_published(store, dataset.name, plan.fingerprint)
    assert read_current(store, dataset.name) is None


def test_pair_set_removed_by_gc_raises(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    dataset = make_quick_dataset(make_folder(2))
    plan, _ = extract_all(store, dataset)

    def remove(call: str) -> None:
        if call == "compare_and_swap":
            store.delete(f"{plan.folder}/manifest.parquet")

    with pytest.raises(IntegrityError, match=r"was deleted by `icanvas gc`"):
        publish_pairs(plan, acquire(dataset, store), observe_calls(store, remove))


def test_report_shows_rejected_files(store: LocalStore, make_folder: Callable[[int], Path]) -> None:
    folder = make_folder(2)
    for number in range(40):
        ribbon = draw_scene(number, 40, 200)
        (folder / f"ribbon-{number}.png").write_bytes(encode(ribbon))
    (folder / "icon.png").write_bytes(encode(draw_scene(1, 20, 20)))
    (folder / "broken.jpg").write_text("no picture")
    licensed = {"license": "ours & theirs", "homepage": "https://example.org/pets?a=1&b=2"}
    dataset = make_quick_dataset(folder, shard_size=16, **licensed)
    plan, _ = extract_all(store, dataset)
    pair_set = publish_pairs(plan, acquire(dataset, store), store)
    assert pair_set.rejected == {"aspect": 40, "too_small": 1, "undecodable": 1}
    page = Path(pair_set.report).read_text()
    sheet, *thumbnails = [
        Image.open(io.BytesIO(base64.b64decode(encoded))).size
        for encoded in sorted(re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page), key=len)[
            ::-1
        ]
    ]
    assert sheet[0] > 500
    assert thumbnails.count((96, 19)) == 12, "each reason gets half of the thumbnails"
    assert thumbnails.count((20, 20)) == 1, "small pictures are not enlarged"
    assert len(thumbnails) == 13
    assert "<figcaption>ribbon-0.png</figcaption>" in page
    assert "20×20, under 32 px" in page
    assert len(page) < 400_000
    assert "ours &amp; theirs" in page
    assert '<a href="https://example.org/pets?a=1&amp;b=2">' in page
    assert str(folder) in page, "the page does not name the source"


def test_likely_mistakes_cause_warnings(store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    pair = np.hstack([np.full((256, 256, 3), 255, np.uint8), draw_scene(1, 256, 256)])
    (folder / "pair.png").write_bytes(encode(pair))
    (folder / "blank.png").write_bytes(encode(np.full((64, 64, 3), 9, np.uint8)))
    dataset = make_quick_dataset(folder)
    plan, _ = extract_all(store, dataset)
    warnings = publish_pairs(plan, acquire(dataset, store), store).warnings
    assert len(warnings) == 2
    assert "--paired" in warnings[0]
    assert "--threshold" in warnings[1]
