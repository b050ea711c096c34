import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from config.dataset import EdgeSettings, Geometry
from config.errors import InputError, IntegrityError
from hed import EdgeDetector
from hed.engines import create_engine
from postprocess import DrawingSide, decode_pair, edge_density, split_pair
from sources import DatasetConfig, RawSet, acquire, find_dataset
from storage import LocalStore
from storage.manifest import ManifestRow
from storage.pair_reader import open_pairs
from storage.pins import pin
from tasks.detector import format_weights_id, get_detector
from tasks.drawing_side import detect_drawing_side
from tasks.extract import extract_shard
from tasks.pair_set_plan import PairSetPlan
from tests.conftest import draw_scene, encode
from tests.hed.networks import THIN_CHANNELS, make_layers, make_weights


def make_quick_dataset(folder: Path, **changes: object) -> DatasetConfig:
    """Return a data set of a folder, with a small border for quick tests."""
    return find_dataset(str(folder)).model_copy(
        update={"edges": EdgeSettings(border=16), **changes}
    )


def make_plan(dataset: DatasetConfig, raw: RawSet, drawing: DrawingSide = "left") -> PairSetPlan:
    if not dataset.needs_edges:
        return PairSetPlan(dataset, raw.fingerprint, None, None, drawing_side=drawing)
    weights = format_weights_id(get_detector(dataset.edges.border).weights)
    return PairSetPlan(dataset, raw.fingerprint, 0.5, weights, drawing_side=drawing)


def extract_all(store: LocalStore, dataset: DatasetConfig) -> tuple[PairSetPlan, list[ManifestRow]]:
    raw = acquire(dataset, store)
    plan = make_plan(dataset, raw, detect_drawing_side(raw, store) if dataset.paired else "left")
    pin(store, dataset.name, plan.fingerprint, plan.settings)
    return plan, [
        row for shard in range(raw.num_shards) for row in extract_shard(plan, shard, store)
    ]


def read_pair(store: LocalStore, plan: PairSetPlan, row: ManifestRow) -> np.ndarray:
    reader = open_pairs(store, plan.dataset.name, plan.fingerprint, plan.settings)
    return decode_pair(reader.read(row))


def test_pairs_hold_drawing_and_picture(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    dataset = make_quick_dataset(make_folder(5), shard_size=2, val_share=0.5)
    plan, rows = extract_all(store, dataset)
    assert [row.status for row in rows] == ["pair"] * 5
    assert {row.split for row in rows} == {"train", "val"}
    for row in rows:
        drawing, picture = split_pair(read_pair(store, plan, row))
        assert set(np.unique(drawing)) == {0, 255}
        assert row.edge_density == edge_density(drawing) > 0.002
        scene = draw_scene(int(row.source_path[:3]))
        assert np.abs(picture.mean((0, 1)) - scene.mean((0, 1))).max() < 2


def test_extracted_shards_are_not_extracted_again(
    store: LocalStore, make_folder: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_quick_dataset(make_folder(2))
    plan, rows = extract_all(store, dataset)
    monkeypatch.setattr("tasks.extract.get_plan_detector", None)
    assert extract_all(store, dataset) == (plan, rows)


def test_unsuitable_pictures_are_rejected(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    folder = make_folder(1)
    for name, picture in {
        "icon": draw_scene(1, 10, 10),
        "ribbon": draw_scene(2, 40, 400),
        "blank": np.full((64, 64, 3), 200, np.uint8),
    }.items():
        (folder / f"{name}.png").write_bytes(encode(picture))
    _, rows = extract_all(store, make_quick_dataset(folder))
    assert {row.source_path: row.reason for row in rows} == {
        "000.png": None,
        "blank.png": "blank_edges",
        "icon.png": "too_small",
        "ribbon.png": "aspect",
    }
    assert all(row.offset is None for row in rows if row.reason)
    assert "10×10" in next(row.detail for row in rows if row.reason == "too_small" and row.detail)


def test_contain_mode_draws_no_frame(store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    picture = draw_scene(1, 64, 128)
    picture[:, :, :] = (90, 120, 60)
    picture[20:44, 50:78] = (230, 40, 40)
    (folder / "wide.png").write_bytes(encode(picture))
    dataset = make_quick_dataset(folder, geometry=Geometry(mode="contain", background="#0000ff"))
    plan, (row,) = extract_all(store, dataset)
    drawing, right_half = split_pair(read_pair(store, plan, row))
    assert (right_half[:64] == (0, 0, 255)).all()
    assert (right_half[-64:] == (0, 0, 255)).all()
    ys, xs = np.nonzero(drawing == 0)
    assert ys.min() > 90, "the border of the picture became a line"
    assert ys.max() < 166
    assert xs.min() > 86


@pytest.mark.slow
def test_edge_scale_resolves_finer_lines(store: LocalStore, tmp_path: Path) -> None:
    """Two thin lines of a large picture merge at the size of the pair."""
    folder = tmp_path / "large"
    folder.mkdir()
    picture = np.full((768, 768, 3), 235, np.uint8)
    for row in range(120, 660, 120):
        picture[row : row + 3, 60:700] = picture[row + 9 : row + 12, 60:700] = (10, 20, 60)
    (folder / "lines.png").write_bytes(encode(picture))
    lines = []
    for scale in (1, 3):
        dataset = make_quick_dataset(folder).model_copy(
            update={"edges": EdgeSettings(border=16, scale=scale)}
        )
        plan, rows = extract_all(store, dataset)
        drawing, right_half = split_pair(read_pair(store, plan, rows[0]))
        assert right_half.shape == (256, 256, 3)
        # Number of lines that cross the middle column.
        lines.append(int((np.diff((drawing[:, 128] == 0).astype(int)) == 1).sum()))
    assert lines[1] > lines[0]


@pytest.mark.slow
def test_shard_with_mixed_sizes(store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "sizes"
    folder.mkdir()
    shapes = [(64, 64), (40, 100), (33, 129), (700, 300), (1200, 1600), (256, 256)]
    for number, (height, width) in enumerate(shapes):
        (folder / f"{number}.png").write_bytes(encode(draw_scene(number, height, width)))
    geometry = Geometry(mode="contain", enlarge="nearest")
    plan, rows = extract_all(store, make_quick_dataset(folder, geometry=geometry))
    assert [row.status for row in rows] == ["pair"] * len(shapes)
    for row, (height, width) in zip(rows, shapes, strict=True):
        drawing, _ = split_pair(read_pair(store, plan, row))
        ys, xs = np.nonzero(drawing == 0)
        assert (np.ptp(ys) > np.ptp(xs)) == (height > width) or height == width


@pytest.mark.slow
def test_memory_is_independent_of_shard_size(
    store: LocalStore, make_folder: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory holds a window of pictures, not the shard."""
    layers = make_weights(make_layers(0, THIN_CHANNELS))
    hed = EdgeDetector(create_engine("opencv", layers, workers=2), layers, border=16)
    monkeypatch.setattr("tasks.extract.get_plan_detector", lambda plan: hed)
    peaks = []
    for count in (60, 180):
        dataset = make_quick_dataset(make_folder(count))
        raw = acquire(dataset, store)
        tracemalloc.start()
        rows = extract_shard(PairSetPlan(dataset, raw.fingerprint, 0.5, None), 0, store)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert sum(row.status == "pair" for row in rows) > count / 2, "too few pairs to measure"
    # Each of the 120 additional pictures has 0.2 MB, and its pair half as much. The size of the
    # window varies by some MB with the timing of the threads.
    assert peaks[1] - peaks[0] < 12_000_000


def test_other_weights_raise(store: LocalStore, make_folder: Callable[[int], Path]) -> None:
    dataset = make_quick_dataset(make_folder(1))
    plan = replace(make_plan(dataset, acquire(dataset, store)), weights="caffe:0123")
    with pytest.raises(InputError, match=r"keras:4502.*caffe:0123.*ICANVAS_WEIGHTS"):
        extract_shard(plan, 0, store)
    assert not list(store.list_keys(plan.folder)), "partial results remain"


def test_fingerprint_covers_all_settings(tmp_path: Path) -> None:
    plan = PairSetPlan(make_quick_dataset(tmp_path), "raw", 0.5, "weights")
    different = [
        replace(plan, raw_fingerprint="other"),
        replace(plan, threshold=0.4),
        replace(plan, weights="other"),
        replace(plan, revision=1),
        replace(plan, dataset=make_quick_dataset(tmp_path, geometry=Geometry(mode="contain"))),
        replace(
            plan, dataset=make_quick_dataset(tmp_path, edges=EdgeSettings(border=16, min_pixels=9))
        ),
        replace(plan, dataset=make_quick_dataset(tmp_path, val_share=0.2)),
        replace(plan, dataset=make_quick_dataset(tmp_path, validation=("val/",))),
        replace(plan, dataset=make_quick_dataset(tmp_path, validation=("test/",))),
        replace(plan, dataset=make_quick_dataset(tmp_path, paired=True)),
        replace(plan, dataset=make_quick_dataset(tmp_path, paired=True), drawing_side="right"),
        replace(plan, dataset=make_quick_dataset(tmp_path, paired=True, re_extract=True)),
        replace(
            plan, dataset=make_quick_dataset(tmp_path, paired=True, re_extract=True), threshold=0.4
        ),
    ]
    names = {plan.fingerprint, *(other.fingerprint for other in different)}
    assert len(names) == len(different) + 1
    for same in (
        replace(plan, revision=0),
        replace(plan, dataset=make_quick_dataset(tmp_path, title="Another title")),
    ):
        assert same.fingerprint == plan.fingerprint


def test_fingerprint_is_stable(tmp_path: Path) -> None:
    """Pair sets of earlier versions are not prepared again."""
    plan = PairSetPlan(make_quick_dataset(tmp_path), "raw", 0.5, "weights")
    assert plan.fingerprint == "3bbc1ddf936f"


def test_published_split_is_used(store: LocalStore, make_folder: Callable[[int], Path]) -> None:
    folder = make_folder(4)
    (folder / "val").mkdir()
    for name in ("001.png", "003.png"):
        (folder / name).rename(folder / "val" / name)
    dataset = make_quick_dataset(folder, validation=("val/",), val_share=0)
    _, rows = extract_all(store, dataset)
    assert {row.source_path: row.split for row in rows} == {
        "000.png": "train",
        "002.png": "train",
        "val/001.png": "val",
        "val/003.png": "val",
    }


def test_corrupt_raw_shard_raises(store: LocalStore, make_folder: Callable[[int], Path]) -> None:
    dataset = make_quick_dataset(make_folder(2))
    raw = acquire(dataset, store)
    plan = make_plan(dataset, raw)
    key = f"{plan.raw_folder}/00000.tar"
    corrupt = bytearray(store.get(key))
    corrupt[700] ^= 1
    store.put(key, bytes(corrupt))
    with pytest.raises(IntegrityError, match=r"corrupt at 000\.png"):
        extract_shard(plan, 0, store)
