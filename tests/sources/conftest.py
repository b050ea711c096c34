"""A place for archives that may leave nothing behind, and a played internet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import get_settings
from tests.hosts import FakeHosts


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


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHosts]:
    """Play the internet, with a home, a cache and no credentials of the tests' own."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ICANVAS_CACHE", str(tmp_path / "cache"))
    get_settings.cache_clear()
    # Waiting is not what is tested here.
    monkeypatch.setattr("time.sleep", lambda _: None)
    with FakeHosts() as playing:
        playing.set_proxy_env(monkeypatch)
        yield playing
