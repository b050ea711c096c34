"""Whatever stops an export, nothing of it is left, and nothing else is touched."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.errors import InputError, IntegrityError, NotFoundError, StorageError
from storage import LocalStore
from tasks.export_formats import FormatName
from tests.model.pairs import publish
from tests.tasks.test_export import FORMATS, SPLITS, everything, tiny


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_interrupted_leaves_nothing(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: FormatName
) -> None:
    publish(store, SPLITS)
    seen: list[Path] = []

    def interrupt(name: str) -> None:
        seen.extend(tmp_path.rglob("*.icanvas-export-*/*"))
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.export.advance", interrupt)
    before = everything(tmp_path), sorted(tmp_path.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        tiny(store, tmp_path / "new" / "out", form)
    assert seen, "there was nothing to leave behind"
    assert (everything(tmp_path), sorted(tmp_path.rglob("*"))) == before


def test_damage_is_told_and_leaves_nothing(store: LocalStore, tmp_path: Path) -> None:
    publish(store, SPLITS)
    key = "datasets/tiny/pairs/pairs/train-00000.tar"
    whole = store.get(key)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    for content in (bytes(damaged), whole[:-12_000]):
        store.put(key, content)
        for form in FORMATS:
            with pytest.raises(IntegrityError, match="icanvas prepare"):
                tiny(store, tmp_path / "out", form)
    store.delete(key)
    with pytest.raises(NotFoundError, match="train-00000"):
        tiny(store, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["own-store"]


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let no file of this process grow further: the system refuses, as it does on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk_is_told_and_leaves_nothing(
    store: LocalStore, tmp_path: Path, form: FormatName
) -> None:
    publish(store, SPLITS)
    with files_up_to(1000), pytest.raises(StorageError, match=r"out: File too large\. Check space"):
        tiny(store, tmp_path / "out", form)
    assert [path.name for path in tmp_path.iterdir()] == ["own-store"]
    tiny(store, tmp_path / "out", form)


def test_only_a_new_or_empty_folder_is_taken(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, "t")
    full, empty, file = tmp_path / "full", tmp_path / "empty", tmp_path / "file"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    file.write_text("mine")
    before = everything(tmp_path)
    for place, says in (
        (full, "is not empty. Name a folder that is new"),
        (file, "is a file. Name a folder"),
    ):
        with pytest.raises(InputError, match=says):
            tiny(store, place)
    with pytest.raises(StorageError, match="Not a directory"):
        tiny(store, file / "below")
    empty.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_mount", lambda _: True)
        with pytest.raises(InputError, match="is a mount point"):
            tiny(store, empty)
    monkeypatch.chdir(empty)
    with pytest.raises(InputError, match="the folder you are in"):
        tiny(store, Path())
    assert everything(tmp_path) == before
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(empty)
    assert tiny(store, Path("link")).folder == empty
    assert (empty / "train" / "00000000.jpg").stat().st_size
    assert (tmp_path / "link").is_symlink()
