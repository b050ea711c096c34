"""A place for archives that may leave nothing behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for archives; the current one lies deep beside it, and nothing may appear there."""
    archives = tmp_path / "archives"
    current = tmp_path / "a" / "b" / "c"
    archives.mkdir()
    current.mkdir(parents=True)
    monkeypatch.chdir(current)
    yield archives
    beside = {path.name for path in tmp_path.iterdir()}
    assert beside - {"own-store"} == {"archives", "a"}
    assert sorted(path.name for path in (tmp_path / "a").rglob("*")) == ["b", "c"]
    assert len(list(archives.iterdir())) == 1
