import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from config.errors import IntegrityError, SourceError
from sources import DatasetConfig, RawSet, acquire, find_dataset
from storage import LocalStore, keys
from storage.manifest import ManifestRow, rows_from_parquet
from storage.shards import read_member
from tests.conftest import draw_scene, encode


def dataset_with_small_shards(folder: Path, size: int = 4) -> DatasetConfig:
    return find_dataset(str(folder)).model_copy(update={"shard_size": size})


def folder_of(raw: RawSet) -> str:
    return keys.raw_folder(raw.dataset, raw.fingerprint)


def read_index(store: LocalStore, raw: RawSet) -> list[ManifestRow]:
    return rows_from_parquet(store.get(keys.raw_index(raw.dataset, raw.fingerprint)))


def contents(store: LocalStore) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.list_keys("datasets")}


def test_every_file_has_a_row_and_bytes_are_unchanged(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    folder = make_folder(9)
    (folder / "notes.txt").write_text("hello")
    (folder / "copy.png").write_bytes((folder / "003.png").read_bytes())
    (folder / "same.bmp").write_bytes(encode(draw_scene(4), "BMP"))
    raw = acquire(dataset_with_small_shards(folder), store)
    assert [row.source_path for row in read_index(store, raw)] == sorted(
        p.name for p in folder.iterdir()
    )
    assert raw.num_shards == 3
    reasons = {row.source_path: row.reason for row in read_index(store, raw) if row.reason}
    assert reasons == {
        "copy.png": "duplicate",
        "notes.txt": "not_a_picture",
        "same.bmp": "duplicate",
    }
    for row in read_index(store, raw):
        if row.status == "accepted":
            assert row.offset is not None
            assert row.size is not None
            data = read_member(store, f"{folder_of(raw)}/{row.shard:05d}.tar", row.offset, row.size)
            assert data == (folder / row.source_path).read_bytes()
            assert (row.width, row.height) == (96, 96)


def test_second_call_reads_nothing(store: LocalStore, make_folder: Callable[[int], Path]) -> None:
    dataset = dataset_with_small_shards(make_folder(5))
    first = acquire(dataset, store)
    original = contents(store)
    progress: list[int] = []
    assert acquire(dataset, store, on_files=progress.append) == first
    assert progress == []
    assert contents(store) == original


def test_new_picture_makes_a_new_raw_set(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    folder = make_folder(5)
    first = acquire(dataset_with_small_shards(folder), store)
    (folder / "more.png").write_bytes(encode(draw_scene(99)))
    second = acquire(dataset_with_small_shards(folder), store)
    assert second.fingerprint != first.fingerprint
    assert second.num_files == 6
    assert store.exists(keys.raw_index(first.dataset, first.fingerprint)), "the old set was deleted"


def test_interrupted_run_is_resumed_with_the_same_result(
    store: LocalStore,
    tmp_path: Path,
    make_folder: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = dataset_with_small_shards(make_folder(11))
    other = LocalStore(tmp_path / "undisturbed")
    acquire(dataset, other)

    put = store.put
    keys_put: list[str] = []

    def put_two(key: str, data: bytes) -> None:
        if len(keys_put) == 2:
            raise KeyboardInterrupt
        put(key, data)
        keys_put.append(key)

    monkeypatch.setattr(store, "put", put_two)
    with pytest.raises(KeyboardInterrupt):
        acquire(dataset, store)
    monkeypatch.undo()
    progress: list[int] = []
    acquire(dataset, store, on_files=progress.append)
    assert contents(store) == contents(other)
    assert sum(progress) == 11


def test_interrupted_run_of_a_tar_is_resumed(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    folder = make_folder(7)
    path = folder.parent / "x.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
    complete = acquire(dataset_with_small_shards(path, 3), store)
    for key in (
        f"{folder_of(complete)}/index.parquet",
        f"{folder_of(complete)}/parts/00001.parquet",
    ):
        store.delete(key)
    assert acquire(dataset_with_small_shards(path, 3), store) == complete


def test_missing_pictures_are_reported(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    folder = make_folder(3)
    with pytest.raises(SourceError, match="holds no file"):
        acquire(
            dataset_with_small_shards(folder).model_copy(update={"selection": ("*.jpg",)}), store
        )
    with pytest.raises(SourceError, match="3 of 4 pictures"):
        acquire(dataset_with_small_shards(folder).model_copy(update={"expected": 4}), store)
    assert not store.exists(keys.latest_origin("pictures")), (
        "the origin of a refused set is not saved"
    )


@pytest.mark.parametrize(
    ("patterns", "count"),
    [(("*.png",), 4), (("in/**",), 2), (("in/*.png", "top.png"), 3), (("**",), 5), (("*/a*",), 2)],
)
def test_selection_uses_gitignore_patterns(
    store: LocalStore, tmp_path: Path, patterns: tuple[str, ...], count: int
) -> None:
    folder = tmp_path / "set"
    for name in ("top.png", "in/a.png", "in/b.png", "in2/a.png", "x.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode(draw_scene(len(name) * 7 + ord(name[-5]))))
    dataset = find_dataset(str(folder)).model_copy(update={"selection": patterns})
    assert acquire(dataset, store).num_files == count


def test_truncated_archive_leaves_no_index(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    folder = make_folder(4)
    path = folder.parent / "cut.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder, "x")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(IntegrityError):
        acquire(dataset_with_small_shards(path), store)
    assert not any(key.endswith("index.parquet") for key in store.list_keys("datasets"))
