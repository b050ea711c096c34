"""Fixtures: a folder for archives that must not be unpacked, and fake hosts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import get_settings
from tests.hosts import FakeHosts


@pytest.fixture
def archive_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder for archives; the test fails if files are written outside of it."""
    archives = tmp_path / "archives"
    current = tmp_path / "a" / "b" / "c"
    archives.mkdir()
    current.mkdir(parents=True)
    monkeypatch.chdir(current)
    yield archives
    names = {path.name for path in tmp_path.iterdir()}
    assert names - {"own-store"} == {"archives", "a"}
    assert sorted(path.name for path in (tmp_path / "a").rglob("*")) == ["b", "c"]
    assert len(list(archives.iterdir())) == 1


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHosts]:
    """Serve fake hosts, with a separate home and cache and without credentials."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ICANVAS_CACHE", str(tmp_path / "cache"))
    get_settings.cache_clear()
    # Pauses between requests are not tested here.
    monkeypatch.setattr("time.sleep", lambda _: None)
    with FakeHosts() as fake_hosts:
        fake_hosts.set_proxy_env(monkeypatch)
        yield fake_hosts
