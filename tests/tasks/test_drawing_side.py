"""Published pairs: used unchanged, with swapped halves, or re-extracted."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data.dataset import PairDataset
from postprocess import DrawingSide, edge_density, split_pair
from sources import acquire, decode_picture
from storage import LocalStore
from storage.manifest import ManifestRow
from storage.pair_sets import read_manifest
from storage.shards import read_member
from tasks.drawing_side import detect_drawing_side
from tasks.extract import extract_shard
from tasks.pair_set_plan import PairSetPlan
from tasks.publish import PairSet, publish_pairs
from tests.conftest import draw_scene, encode
from tests.published_pairs import draw_published, publish_folder
from tests.tasks.test_extract import extract_all, make_quick_dataset, read_pair

WHITE = (255, 255, 255)


def publish_pairs_of(
    store: LocalStore, folder: Path, **changes: object
) -> tuple[PairSetPlan, PairSet]:
    dataset = make_quick_dataset(folder, **{"paired": True, **changes})
    plan, _ = extract_all(store, dataset)
    return plan, publish_pairs(plan, acquire(dataset, store), store)


def get_pair_rows(plan: PairSetPlan, store: LocalStore, split: str) -> list[ManifestRow]:
    rows = read_manifest(store, plan.dataset.name, plan.fingerprint)
    return [row for row in rows if row.status == "pair" and row.split == split]


def count_stored_bytes(store: LocalStore, folder: str) -> int:
    return sum(len(store.get(key)) for key in store.list_keys(folder))


def test_published_pairs_are_stored_once(store: LocalStore, tmp_path: Path) -> None:
    folder = publish_folder(tmp_path / "published", 24)
    plan, rows = extract_all(store, make_quick_dataset(folder, paired=True, shard_size=16))
    assert [row.status for row in rows] == ["pair"] * 24
    assert not [key for key in store.list_keys(plan.folder) if key.endswith(".tar")]
    sources = sum(path.stat().st_size for path in folder.rglob("*.jpg"))
    assert count_stored_bytes(store, plan.folder) < 0.2 * sources, "more than the rows is stored"
    for row in rows:
        assert row.offset is not None and row.size is not None
        raw = read_member(store, f"{plan.raw_folder}/{row.shard:05d}.tar", row.offset, row.size)
        assert raw == (folder / row.source_path).read_bytes()
    assert plan.settings["stored"] == "raw"
    assert "weights" not in plan.settings


def test_dataset_yields_published_pairs(store: LocalStore, tmp_path: Path) -> None:
    folder = publish_folder(tmp_path / "published", 5)
    plan, pair_set = publish_pairs_of(store, folder, validation=("val/",))
    assert (pair_set.train, pair_set.val, pair_set.warnings) == (4, 1, [])
    num_checked = 0
    for split in ("train", "val"):
        pairs = PairDataset(store, "published", plan.fingerprint, split, 256)
        for index, row in enumerate(get_pair_rows(plan, store, split)):
            assert row.source_path.startswith(split)
            condition, picture = pairs[index]
            file = (folder / row.source_path).read_bytes()
            drawing, photo = split_pair(decode_picture(file, "x.jpg", WHITE, 10**9))
            assert (condition[0].numpy() * 255 == drawing).all()
            assert row.edge_density == edge_density(drawing)
            restored = ((picture + 1) * 127.5).permute(1, 2, 0).numpy()
            assert np.abs(restored - photo).max() < 1
            num_checked += 1
    assert num_checked == 5


def test_swapped_halves_are_corrected_with_a_warning(store: LocalStore, tmp_path: Path) -> None:
    left_folder = publish_folder(tmp_path / "usual", 4, "left", "PNG")
    right_folder = publish_folder(tmp_path / "swapped", 4, "right", "PNG")
    plans = []
    for folder, warnings in (
        (left_folder, []),
        (
            right_folder,
            [
                "4 pairs have the picture on the left and the drawing on the right. Their halves "
                "were swapped."
            ],
        ),
    ):
        plan, pair_set = publish_pairs_of(store, folder)
        assert pair_set.train + pair_set.val == 4
        assert pair_set.warnings == warnings
        page = Path(pair_set.report).read_text()
        assert ("halves were swapped" in page) == bool(warnings)
        plans.append(plan)
    left_pairs, right_pairs = (
        PairDataset(store, plan.dataset.name, plan.fingerprint, "train", 256) for plan in plans
    )
    left_rows, right_rows = (get_pair_rows(plan, store, "train") for plan in plans)
    by_path = {row.source_path: index for index, row in enumerate(right_rows)}
    for index, row in enumerate(left_rows):
        if row.source_path in by_path:
            for half, other in zip(
                left_pairs[index], right_pairs[by_path[row.source_path]], strict=True
            ):
                assert (half == other).all()
    sheets = [store.get(f"{plan.folder}/contact-sheet.jpg") for plan in plans]
    assert sheets[0] == sheets[1], "the contact sheet differs for swapped pairs"


def test_majority_decides_ambiguous_pairs(store: LocalStore, tmp_path: Path) -> None:
    """An ambiguous pair follows the majority; a pair that is clearly swapped is rejected."""
    folder = publish_folder(tmp_path / "mixed", 5, "right", "PNG")
    ambiguous = draw_published(20)
    ambiguous[:, 256:] = draw_published(21)[:, :256]
    (folder / "ambiguous.png").write_bytes(encode(ambiguous))
    (folder / "other.png").write_bytes(encode(draw_published(22, "left")))
    plan, rows = extract_all(store, make_quick_dataset(folder, paired=True))
    assert plan.drawing_side == "right"
    rows_by_path = {row.source_path: row for row in rows}
    assert rows_by_path.pop("other.png").detail == (
        "the drawing is not on the right, unlike in most pairs of this set"
    )
    assert {row.status for row in rows_by_path.values()} == {"pair"}
    drawing, _ = split_pair(
        read_pair(store, plan, rows_by_path["ambiguous.png"]), plan.drawing_side
    )
    assert (drawing == ambiguous[:, 256:, 0]).all()


@pytest.mark.parametrize("first", ["left", "right"])
def test_votes_are_spread_over_shards(
    store: LocalStore, tmp_path: Path, first: DrawingSide
) -> None:
    other: DrawingSide = "right" if first == "left" else "left"
    folder = publish_folder(tmp_path / "pairs" / "a", 4, first)
    publish_folder(tmp_path / "pairs" / "b", 10, other, first=4)
    raw = acquire(make_quick_dataset(tmp_path / "pairs", shard_size=2), store)
    assert detect_drawing_side(raw, store) == other
    shutil.rmtree(folder.parent / "b")
    assert (
        detect_drawing_side(acquire(make_quick_dataset(tmp_path / "pairs"), store), store) == first
    )


def test_files_that_are_no_pairs_are_rejected(store: LocalStore, tmp_path: Path) -> None:
    folder = publish_folder(tmp_path / "pairs", 2)
    pair = draw_published(9)
    blank = pair.copy()
    blank[:, :256] = 255
    duplicate = folder / "val" / "again.jpg"
    duplicate.parent.mkdir()
    duplicate.write_bytes((folder / "train" / "1_AB.jpg").read_bytes())
    for name, picture in {
        "blank": blank,
        "photo": draw_scene(1, 256, 512),
        "single": draw_scene(1, 256, 256),
        "small": pair[::2, ::2],
    }.items():
        (folder / f"{name}.png").write_bytes(encode(picture))
    _, rows = extract_all(store, make_quick_dataset(folder, paired=True, validation=("val/",)))
    assert {row.source_path: row.reason for row in rows} == {
        "blank.png": "blank_edges",
        "photo.png": "not_a_pair",
        "single.png": "not_a_pair",
        "small.png": "not_a_pair",
        "train/0_AB.jpg": None,
        "train/1_AB.jpg": None,
        "val/again.jpg": "duplicate",
    }
    assert all((row.offset is None) == (row.reason is not None) for row in rows)


def save(picture: Image.Image, path: Path, **options: object) -> None:
    picture.save(path, **options)  # type: ignore[arg-type]


def test_files_that_decode_differently_in_training_are_rejected(
    store: LocalStore, tmp_path: Path
) -> None:
    folder = publish_folder(tmp_path / "pairs", 1)
    turned = Image.Exif()
    turned[0x0112] = 6
    upright = Image.fromarray(draw_published(11))
    save(upright.rotate(90, expand=True), folder / "exif.jpg", exif=turned, quality=95)
    hidden = draw_published(12)
    opaque = np.full((256, 512), 255, np.uint8)
    opaque[20:120, 300:400] = 0
    hidden[opaque == 0] = (200, 0, 0)
    save(Image.fromarray(np.dstack([hidden, opaque])), folder / "alpha.png")
    save(Image.fromarray(draw_published(13)).convert("CMYK"), folder / "cmyk.jpg")
    save(Image.fromarray(draw_published(14)).convert("P"), folder / "palette.png")
    save(Image.fromarray(draw_published(15)).convert("L"), folder / "gray.png")
    save(Image.fromarray(draw_published(16)), folder / "deep.tiff")
    save(Image.fromarray(draw_published(17)), folder / "web.webp", lossless=True)
    plan, rows = extract_all(store, make_quick_dataset(folder, paired=True))
    rows_by_path = {row.source_path: row for row in rows}
    assert rows_by_path["alpha.png"].reason == "not_a_pair"
    assert "save it as a plain RGB PNG or JPEG" in str(rows_by_path["alpha.png"].detail)
    pairs = {name for name, row in rows_by_path.items() if row.status == "pair"}
    assert {"exif.jpg", "palette.png", "gray.png"} <= pairs
    for name in pairs:
        file = (folder / name).read_bytes()
        expected = decode_picture(file, name, WHITE, 10**9).astype(int)
        assert np.abs(read_pair(store, plan, rows_by_path[name]) - expected).mean() < 1, name


def test_interrupted_extraction_resumes(store: LocalStore, tmp_path: Path) -> None:
    """A run that was killed between two shards resumes with the second."""
    dataset = make_quick_dataset(publish_folder(tmp_path / "pairs", 5), paired=True, shard_size=2)
    raw = acquire(dataset, store)
    plan = PairSetPlan(dataset, raw.fingerprint, None, None)
    first = extract_shard(plan, 0, store)
    objects = {key: store.get(key) for key in store.list_keys(plan.folder)}
    shard = store.get(f"{plan.raw_folder}/00000.tar")
    store.delete(f"{plan.raw_folder}/00000.tar")
    rows = [row for number in range(raw.num_shards) for row in extract_shard(plan, number, store)]
    assert rows[:2] == first
    assert {key: store.get(key) for key in objects} == objects
    store.put(f"{plan.raw_folder}/00000.tar", shard)
    pair_set = publish_pairs(plan, raw, store)
    assert pair_set.train + pair_set.val == 5


@pytest.mark.parametrize("drawing", ["left", "right"])
def test_re_extraction_equals_extraction_of_pictures(
    store: LocalStore, tmp_path: Path, drawing: DrawingSide
) -> None:
    folder = publish_folder(tmp_path / "published", 2, drawing, "PNG")
    alone = tmp_path / "alone"
    for path in folder.rglob("*.png"):
        _, photo = split_pair(np.asarray(Image.open(path)), drawing)
        path_of_picture = alone / path.relative_to(folder)
        path_of_picture.parent.mkdir(parents=True, exist_ok=True)
        path_of_picture.write_bytes(encode(photo))
    plan, rows = extract_all(store, make_quick_dataset(folder, paired=True, re_extract=True))
    pictures_plan, pictures_rows = extract_all(store, make_quick_dataset(alone))

    def content(plan: PairSetPlan, rows: list[ManifestRow]) -> list[bytes]:
        return [read_pair(store, plan, row).tobytes() for row in rows]

    assert [row.status for row in rows] == ["pair"] * 2
    assert content(plan, rows) == content(pictures_plan, pictures_rows)
    published = split_pair(draw_published(0))[0]
    assert (split_pair(read_pair(store, plan, rows[0]))[0] != published).any()
    assert plan.settings["re_extract"] is True
    assert plan.settings["weights"] == pictures_plan.settings["weights"]
    assert "stored" not in plan.settings


def test_larger_pairs_need_re_extraction(store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    large = Image.fromarray(draw_published(1)).resize((1024, 512), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    large.save(buffer, "PNG")
    (folder / "large.png").write_bytes(buffer.getvalue())
    _, (row,) = extract_all(store, make_quick_dataset(folder, paired=True))
    assert row.detail == "a pair is 512×256, this file is 1024×512"
    plan, (row,) = extract_all(store, make_quick_dataset(folder, paired=True, re_extract=True))
    assert read_pair(store, plan, row).shape == (256, 512, 3)
