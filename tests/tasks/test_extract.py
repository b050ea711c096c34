from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets import DataSet, RawSet, acquire, find
from datasets.catalogue import EdgeSettings, Geometry
from errors import IntegrityError, StorageError
from postprocess import decode_pair, edge_density, join_pair, split_pair
from storage import LocalStore
from storage.manifest import Row
from tasks.extract import PairPlan, _is_storage_fault, extract_shard
from tests.conftest import draw_scene, encode


def quick(folder: Path, **changes: object) -> DataSet:
    """A data set of a folder, with a small border for quick tests."""
    return find(str(folder)).model_copy(update={"edges": EdgeSettings(border=16), **changes})


def plan_for(dataset: DataSet, raw: RawSet) -> PairPlan:
    return PairPlan(dataset, raw.fingerprint, None if dataset.paired else 0.5, "weights")


def extract_all(store: LocalStore, dataset: DataSet) -> tuple[PairPlan, list[Row]]:
    raw = acquire(dataset, store)
    plan = plan_for(dataset, raw)
    return plan, [row for shard in range(raw.shards) for row in extract_shard(plan, shard, store)]


def read_pair(store: LocalStore, plan: PairPlan, row: Row) -> np.ndarray:
    assert row.offset is not None
    assert row.size is not None
    key = f"{plan.folder}/{row.split}-{row.shard:05d}.tar"
    return decode_pair(store.get_range(key, row.offset, row.size))


def test_pairs_hold_the_drawing_beside_its_picture(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    dataset = quick(make_folder(5), shard_size=2, val_share=0.5)
    plan, rows = extract_all(store, dataset)
    assert [row.status for row in rows] == ["pair"] * 5
    assert {row.split for row in rows} == {"train", "val"}
    for row in rows:
        drawing, picture = split_pair(read_pair(store, plan, row))
        assert set(np.unique(drawing)) == {0, 255}
        assert row.edge_density == edge_density(drawing) > 0.002
        scene = draw_scene(int(row.source_path[:3]))
        assert np.abs(picture.mean((0, 1)) - scene.mean((0, 1))).max() < 2


def test_what_is_done_is_not_done_again(
    store: LocalStore, make_folder: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = quick(make_folder(2))
    plan, rows = extract_all(store, dataset)
    monkeypatch.setattr("tasks.extract.detector", None)
    assert extract_all(store, dataset) == (plan, rows)


def test_unfit_pictures_are_rejected_with_a_reason(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    folder = make_folder(1)
    for name, picture in {
        "icon": draw_scene(1, 10, 10),
        "ribbon": draw_scene(2, 40, 400),
        "blank": np.full((64, 64, 3), 200, np.uint8),
    }.items():
        (folder / f"{name}.png").write_bytes(encode(picture))
    _, rows = extract_all(store, quick(folder))
    assert {row.source_path: row.reason for row in rows} == {
        "000.png": None,
        "blank.png": "blank_edges",
        "icon.png": "too_small",
        "ribbon.png": "aspect",
    }
    assert all(row.offset is None for row in rows if row.reason)
    assert "10×10" in next(row.detail for row in rows if row.reason == "too_small" and row.detail)


def test_a_contained_picture_has_no_frame(store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    picture = draw_scene(1, 64, 128)
    picture[:, :, :] = (90, 120, 60)
    picture[20:44, 50:78] = (230, 40, 40)
    (folder / "wide.png").write_bytes(encode(picture))
    dataset = quick(folder, geometry=Geometry(mode="contain", background="#0000ff"))
    plan, (row,) = extract_all(store, dataset)
    drawing, shown = split_pair(read_pair(store, plan, row))
    assert (shown[:64] == (0, 0, 255)).all()
    assert (shown[-64:] == (0, 0, 255)).all()
    ys, xs = np.nonzero(drawing == 0)
    assert ys.min() > 90, "the picture's own border became a line"
    assert ys.max() < 166
    assert xs.min() > 86


def test_pairs_are_taken_as_they_are(store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    drawing = np.full((256, 256), 255, np.uint8)
    drawing[100:102] = 0
    picture = draw_scene(1, 256, 256)
    pair = join_pair(drawing, picture)
    (folder / "good.png").write_bytes(encode(pair))
    (folder / "single.png").write_bytes(encode(picture))
    (folder / "small.png").write_bytes(encode(pair[::2, ::2]))
    plan, rows = extract_all(store, quick(folder, paired=True))
    assert [row.reason for row in rows] == [None, "not_a_pair", "not_a_pair"]
    assert (read_pair(store, plan, rows[0]) == pair).all()


def test_the_fingerprint_follows_what_determines_the_bytes(tmp_path: Path) -> None:
    plan = PairPlan(quick(tmp_path), "raw", 0.5, "weights")
    different = [
        replace(plan, raw="other"),
        replace(plan, threshold=0.4),
        replace(plan, weights="other"),
        replace(plan, revision=1),
        replace(plan, dataset=quick(tmp_path, geometry=Geometry(mode="contain"))),
        replace(plan, dataset=quick(tmp_path, edges=EdgeSettings(border=16, min_pixels=9))),
        replace(plan, dataset=quick(tmp_path, val_share=0.2)),
        replace(plan, dataset=quick(tmp_path, paired=True)),
    ]
    names = {plan.fingerprint, *(other.fingerprint for other in different)}
    assert len(names) == len(different) + 1
    for same in (
        replace(plan, revision=0),
        replace(plan, dataset=quick(tmp_path, title="Another title")),
    ):
        assert same.fingerprint == plan.fingerprint


def test_a_damaged_raw_shard_is_told(store: LocalStore, make_folder: Callable[[int], Path]) -> None:
    dataset = quick(make_folder(2))
    raw = acquire(dataset, store)
    plan = plan_for(dataset, raw)
    key = f"{plan.raw_folder}/00000.tar"
    damaged = bytearray(store.get(key))
    damaged[700] ^= 1
    store.put(key, bytes(damaged))
    with pytest.raises(IntegrityError, match=r"damaged at 000\.png"):
        extract_shard(plan, 0, store)


def test_only_a_fault_of_the_store_is_tried_again() -> None:
    from prefect.states import Failed

    assert _is_storage_fault(Failed(data=StorageError("gone")))
    assert not _is_storage_fault(Failed(data=ValueError("bad setting")))
