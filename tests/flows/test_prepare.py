"""Preparing data sets through a real Prefect server."""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prefect import flow

from config.errors import ConflictError, IcanvasError, InputError, SourceError, StorageError
from config.settings import get_settings
from flows import locks
from flows.extract import extract
from flows.locks import dataset_lock
from flows.prepare import prepare
from sources import EdgeOptions, PrepareOptions
from storage import LocalStore
from storage.gc import collect, scan
from storage.gc_policy import GcPolicy, select_candidates
from storage.pair_sets import read_current, read_manifest, read_settings
from tasks.publish import PairSet
from tests.conftest import draw_scene, encode
from tests.hed.weights.files import make_custom_network
from tests.sources.test_pictures import huge_png

pytestmark = pytest.mark.usefixtures("prefect_api", "quick_network")

ENTRY = """
name = "tiny"
title = "A few scenes"
shard_size = 2
[source]
kind = "local"
path = "pictures"
[edges]
border = 16
threshold = 0.5
"""


@pytest.fixture
def tiny(
    tmp_path: Path, make_folder: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Set up a catalogue with a quick data set of five pictures; return its folder."""
    folder = make_folder(5)
    (tmp_path / "tiny.toml").write_text(ENTRY)
    monkeypatch.setenv("ICANVAS_CATALOGUE", str(tmp_path))
    get_settings.cache_clear()
    return folder


def get_split_counts(pair_set: PairSet) -> tuple[int, int]:
    return pair_set.train, pair_set.val


def snapshot(store: LocalStore) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.list_keys("datasets")}


def test_every_file_gets_a_manifest_row(tmp_path: Path, store: LocalStore) -> None:
    """Each file becomes a pair or gets the right reason; none fails the run."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    scene = draw_scene(1, 120, 160)
    photo = encode(draw_scene(2, 200, 200), "JPEG")
    (folder / "truncated.jpg").write_bytes(photo[: len(photo) * 7 // 10])
    (folder / "text.jpg").write_text("I am not a picture")
    (folder / "huge.png").write_bytes(huge_png(20_000, 20_000))
    (folder / "icon.png").write_bytes(encode(draw_scene(3, 10, 10)))
    Image.fromarray(scene).convert("L").save(folder / "gray.tiff")
    Image.fromarray(draw_scene(4, 120, 120)).convert("CMYK").save(folder / "cmyk.jpg")
    hidden = np.dstack([draw_scene(5), np.where(draw_scene(5)[..., 0] < 150, 255, 0)])
    Image.fromarray(hidden.astype(np.uint8)).save(folder / "rgba.png")
    pair_set = prepare(str(folder), PrepareOptions(threshold=0.5))
    rows = read_manifest(store, "mixed", pair_set.fingerprint)
    assert {row.source_path: row.reason for row in rows} == {
        "cmyk.jpg": None,
        "gray.tiff": None,
        "huge.png": "too_large",
        "icon.png": "too_small",
        "rgba.png": None,
        "text.jpg": "undecodable",
        "truncated.jpg": "undecodable",
    }
    assert len(rows) == pair_set.train + pair_set.val + sum(pair_set.rejected.values()) == 7


def test_second_run_changes_nothing(
    tiny: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare("tiny")
    objects = snapshot(store)
    monkeypatch.setattr("flows.prepare.extract_shards", None)
    assert prepare("tiny") == first
    assert snapshot(store) == objects


def test_force_makes_a_new_revision(tiny: Path, store: LocalStore) -> None:
    first = prepare("tiny")
    objects = snapshot(store)
    second = prepare("tiny", force=True)
    assert second.fingerprint != first.fingerprint
    assert prepare("tiny") == second
    third = prepare("tiny", force=True)
    assert len({first.fingerprint, second.fingerprint, third.fingerprint}) == 3
    objects_after = snapshot(store)
    pointer = "datasets/tiny/pairs/current.json"
    assert {
        key: data for key, data in objects_after.items() if key in objects and key != pointer
    } == {key: data for key, data in objects.items() if key != pointer}
    folders = [f"datasets/tiny/pairs/{made.fingerprint}/" for made in (first, second)]
    shards = [
        {
            key.removeprefix(part): data
            for key, data in objects_after.items()
            if key.startswith(part) and key.endswith(".tar")
        }
        for part in folders
    ]
    assert shards[0] == shards[1]
    assert len(shards[0]) >= 3
    # The latest revision still counts when older ones are deleted.
    policy = GcPolicy(keep_pairs=0, older_than=timedelta(0))
    removed = collect(store, policy, select_candidates(scan(store), policy))
    assert {item.description for item in removed} == {
        f"pair set {made.fingerprint}" for made in (first, second)
    }
    remaining = snapshot(store)
    assert prepare("tiny") == third
    assert snapshot(store) == remaining


@pytest.mark.slow
def test_other_settings_make_another_pair_set(tiny: Path, store: LocalStore) -> None:
    first = prepare("tiny")
    other = prepare("tiny", PrepareOptions(threshold=0.3))
    assert other.fingerprint != first.fingerprint
    current = read_current(store, "tiny")
    assert current is not None
    assert current.fingerprint == other.fingerprint
    assert prepare("tiny") == first
    # The latest revision of these settings counts, whichever was in use meanwhile.
    revision = prepare("tiny", force=True)
    prepare("tiny", PrepareOptions(threshold=0.3))
    assert prepare("tiny") == revision
    prepare("tiny", PrepareOptions(threshold=0.3))
    assert prepare("tiny", force=True) not in (first, other, revision)


def test_failing_shard_does_not_stop_others(
    tiny: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tasks.extract

    extract_shard = tasks.extract.extract_shard

    def fail_one(plan: object, shard: int, *rest: object) -> object:
        if shard == 0:
            raise IcanvasError("shard 0 is broken")
        return extract_shard(plan, shard, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks.extract, "extract_shard", fail_one)
    with pytest.raises(IcanvasError, match="shard 0 is broken"):
        prepare("tiny")
    parts = [key for key in store.list_keys("datasets/tiny/pairs") if "/parts/" in key]
    assert len(parts) == 2
    assert read_current(store, "tiny") is None
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("pattern", "rounds"),
    [
        (r"/raw/\w+/00001\.tar", 2),
        # Deleted.
        pytest.param(r"/raw/\w+/00000\.tar", 2, marks=pytest.mark.slow),
        pytest.param(r"/raw/\w+/parts/00001\.parquet", 2, marks=pytest.mark.slow),
        pytest.param(r"/raw/\w+/index\.parquet", 1, marks=pytest.mark.slow),
        (r"/pairs/\w+/train-00001\.tar", 2),
        pytest.param(r"/pairs/\w+/parts/00001\.parquet", 2, marks=pytest.mark.slow),
    ],
)
def test_corrupt_objects_are_replaced_before_publishing(
    tiny: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch, pattern: str, rounds: int
) -> None:
    """An object is truncated or deleted before the pairs are published."""
    import flows.prepare

    pair_set = prepare("tiny")
    objects = snapshot(store)
    for key in objects:
        store.delete(key)
    real, calls = flows.prepare.extract_shards, 0

    def extract_shards(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if "raw" not in pattern:
            real(*arguments)
        if calls == 1:
            key = next(key for key in objects if re.search(pattern, key))
            if pattern.endswith(r"00000\.tar"):
                store.delete(key)
            else:
                store.put(key, objects[key][:700])
        if "raw" in pattern:
            real(*arguments)

    monkeypatch.setattr(flows.prepare, "extract_shards", extract_shards)
    assert prepare("tiny") == pair_set
    assert calls == rounds
    assert prepare("tiny") == pair_set
    assert snapshot(store) == objects


@pytest.mark.parametrize(
    ("pattern", "remaining_bytes"),
    [
        pytest.param(r"/pairs/\w+/manifest\.parquet", 700, marks=pytest.mark.slow),
        (r"/pairs/\w+/train-00001\.tar", 700),
        pytest.param(r"/pairs/\w+/train-00001\.tar", None, marks=pytest.mark.slow),
    ],
)
def test_corrupt_objects_of_published_pair_set_are_replaced(
    tiny: Path, store: LocalStore, pattern: str, remaining_bytes: int | None
) -> None:
    pair_set = prepare("tiny")
    objects = snapshot(store)
    key = next(key for key in objects if re.search(pattern, key))
    store.delete(key)
    if remaining_bytes is not None:
        store.put(key, objects[key][:remaining_bytes])
    assert prepare("tiny") == pair_set
    assert snapshot(store) == objects


def test_storage_error_cancels_queued_shards(
    tmp_path: Path,
    make_folder: Callable[[int], Path],
    store: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tasks.extract

    entry = ENTRY.replace("shard_size = 2", "shard_size = 1")
    make_folder(9)
    (tmp_path / "tiny.toml").write_text(entry)
    monkeypatch.setenv("ICANVAS_CATALOGUE", str(tmp_path))
    get_settings.cache_clear()
    tried = []

    def fail(_plan: object, shard: int, *_: object) -> object:
        tried.append(shard)
        raise StorageError("the store is unreachable")

    monkeypatch.setattr(tasks.extract, "extract_shard", fail)
    monkeypatch.setattr(tasks.extract.extract, "retry_delay_seconds", 1)
    with pytest.raises(StorageError, match="the store is unreachable"):
        prepare("tiny")
    assert tried.count(tried[0]) == 3, "the shard was not retried"
    assert len(set(tried)) < 6, "all nine shards were tried"
    monkeypatch.undo()
    get_settings.cache_clear()


def test_flow_and_task_runs_have_readable_names(tiny: Path) -> None:
    from prefect.client.orchestration import get_client

    prepare("tiny", force=True)
    with get_client(sync_client=True) as client:
        flows = {run.name for run in client.read_flow_runs()}
        tasks = {run.name for run in client.read_task_runs()}
    assert "prepare tiny" in flows
    assert {"acquire tiny", "extract tiny 00000", "extract tiny 00002", "publish tiny"} <= tasks


def test_edge_settings_of_catalogue_entry_are_used(tiny: Path, store: LocalStore) -> None:
    pair_set = prepare("tiny")
    settings = (Path(pair_set.folder) / "settings.json").read_text()
    assert '"border": 16' in settings
    assert '"threshold": 0.5' in settings


@pytest.mark.parametrize("engine", ["opencv", pytest.param("openvino", marks=pytest.mark.slow)])
def test_custom_weights_make_another_pair_set(
    tiny: Path, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """The settings of the pair set name the weights."""
    default_pair_set = prepare("tiny")
    onnx_file = tmp_path / "own.onnx"
    onnx_file.write_bytes(make_custom_network().SerializeToString())
    monkeypatch.setenv("ICANVAS_WEIGHTS", str(onnx_file))
    monkeypatch.setenv("ICANVAS_ENGINE", engine)
    (tmp_path / "tiny.toml").write_text(ENTRY.replace("threshold = 0.5\n", ""))
    get_settings.cache_clear()
    with pytest.raises(InputError, match=r"no default edge threshold.*icanvas calibrate"):
        prepare("tiny")
    pair_set = prepare("tiny", PrepareOptions(threshold=0.2))
    assert pair_set.fingerprint != default_pair_set.fingerprint
    settings = read_settings(store, "tiny", pair_set.fingerprint)
    digest = hashlib.sha256(onnx_file.read_bytes()).hexdigest()
    assert settings["weights"] == f"onnx:{digest}"
    assert settings["edges"]["threshold"] == 0.2
    assert digest in Path(pair_set.report).read_text()
    assert pair_set.train + pair_set.val + sum(pair_set.rejected.values()) == 5


@pytest.mark.slow
def test_limit_selects_the_same_files(tiny: Path, store: LocalStore) -> None:
    pair_set = prepare("tiny", PrepareOptions(limit=2))
    rows = read_manifest(store, "tiny", pair_set.fingerprint)
    assert len(rows) == 2
    larger_pair_set = prepare("tiny", PrepareOptions(limit=3))
    paths = {row.source_path for row in read_manifest(store, "tiny", larger_pair_set.fingerprint)}
    assert {row.source_path for row in rows} < paths
    assert sum(get_split_counts(prepare("tiny", PrepareOptions(limit=99)))) == 5


def test_extract_needs_no_source_and_stores_a_diff(tiny: Path, store: LocalStore) -> None:
    with pytest.raises(SourceError, match="Prepare it first"):
        extract("tiny")
    first = prepare("tiny")
    tiny.rename(tiny.with_name("away"))
    unused = extract("tiny", EdgeOptions(threshold=0.2), use=False)
    current = read_current(store, "tiny")
    assert current is not None
    assert current.fingerprint == first.fingerprint
    # The same pair set is only put into use.
    second = extract("tiny", EdgeOptions(threshold=0.2))
    assert second == unused
    current = read_current(store, "tiny")
    assert current is not None
    assert current.fingerprint == second.fingerprint
    assert second.diff is not None
    page = Path(second.diff).read_text()
    assert first.fingerprint in page and second.fingerprint in page
    assert "data:image/jpeg;base64," in page
    assert "<code>edges.threshold</code></td><td>0.5</td><td>0.2</td>" in page
    old, new = (
        [row.edge_density or 0 for row in read_manifest(store, "tiny", made.fingerprint)]
        for made in (first, second)
    )
    assert sum(new) > sum(old), "a lower threshold must draw more lines"


def test_second_run_is_refused_if_configured(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that a worker started; tests/operations covers waiting."""
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "a worker's")
    monkeypatch.setenv("ICANVAS_WHEN_BUSY", "refuse")
    get_settings.cache_clear()

    @flow
    def second() -> None:
        with dataset_lock("pairs", "tiny"):
            pass

    @flow
    def first() -> None:
        with dataset_lock("pairs", "tiny"):
            with dataset_lock("pairs", "tiny"):
                pass
            locks._held_limits.clear()
            second()

    with pytest.raises(ConflictError, match=r"Another run is at work on tiny.*pairs-tiny"):
        first()
    # The slot was released.
    second()
