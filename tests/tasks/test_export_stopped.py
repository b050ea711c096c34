"""An export that is stopped leaves no files and does not touch others."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.errors import InputError, IntegrityError, NotFoundError, StorageError
from storage import LocalStore
from tasks.export_formats import FormatName
from tests.model.pairs import publish_test_pairs
from tests.tasks.test_export import FORMATS, SPLITS, export_tiny, read_files


@pytest.mark.parametrize("format_name", FORMATS)
def test_interrupted_export_leaves_no_files(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_name: FormatName
) -> None:
    publish_test_pairs(store, SPLITS)
    partial_files: list[Path] = []

    def interrupt(name: str) -> None:
        partial_files.extend(tmp_path.rglob("*.icanvas-export-*/*"))
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.export.advance", interrupt)
    previous = read_files(tmp_path), sorted(tmp_path.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        export_tiny(store, tmp_path / "new" / "out", format_name)
    assert partial_files, "no partial file was written"
    assert (read_files(tmp_path), sorted(tmp_path.rglob("*"))) == previous


def test_corrupt_pairs_raise_and_leave_no_files(store: LocalStore, tmp_path: Path) -> None:
    publish_test_pairs(store, SPLITS)
    key = "datasets/tiny/pairs/pairs/train-00000.tar"
    content = store.get(key)
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for corrupt in (bytes(flipped), content[:-12_000]):
        store.put(key, corrupt)
        for format_name in FORMATS:
            with pytest.raises(IntegrityError, match="icanvas prepare"):
                export_tiny(store, tmp_path / "out", format_name)
    store.delete(key)
    with pytest.raises(NotFoundError, match="train-00000"):
        export_tiny(store, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["own-store"]


@contextmanager
def limit_file_size(size: int) -> Iterator[None]:
    """Limit the size of files that this process writes; writes fail as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("format_name", FORMATS)
def test_full_disk_raises_and_leaves_no_files(
    store: LocalStore, tmp_path: Path, format_name: FormatName
) -> None:
    publish_test_pairs(store, SPLITS)
    with (
        limit_file_size(1000),
        pytest.raises(StorageError, match=r"out: File too large\. Check space"),
    ):
        export_tiny(store, tmp_path / "out", format_name)
    assert [path.name for path in tmp_path.iterdir()] == ["own-store"]
    export_tiny(store, tmp_path / "out", format_name)


def test_target_must_be_new_or_empty(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_test_pairs(store, "t")
    full_folder, empty, file = tmp_path / "full", tmp_path / "empty", tmp_path / "file"
    full_folder.mkdir()
    (full_folder / "thesis.txt").write_text("mine")
    file.write_text("mine")
    previous = read_files(tmp_path)
    for target, message in (
        (full_folder, "is not empty. Name a new folder"),
        (file, "is a file. Name a new or empty folder"),
    ):
        with pytest.raises(InputError, match=message):
            export_tiny(store, target)
    with pytest.raises(StorageError, match="Not a directory"):
        export_tiny(store, file / "below")
    empty.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_mount", lambda _: True)
        with pytest.raises(InputError, match="is a mount point"):
            export_tiny(store, empty)
    monkeypatch.chdir(empty)
    with pytest.raises(InputError, match="the current directory"):
        export_tiny(store, Path())
    assert read_files(tmp_path) == previous
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(empty)
    assert export_tiny(store, Path("link")).folder == empty
    assert (empty / "train" / "00000000.jpg").stat().st_size
    assert (tmp_path / "link").is_symlink()
