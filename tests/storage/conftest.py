from pathlib import Path

import pytest

from config.settings import get_settings
from storage import ObjectStore, local, uploads


@pytest.fixture(params=["local", "s3"])
def any_store(request: pytest.FixtureRequest) -> ObjectStore:
    store: ObjectStore = request.getfixturevalue("s3_store" if request.param == "s3" else "store")
    return store


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip fsync in tests that create hundreds of stores."""
    monkeypatch.setattr(local, "fsync", lambda _path: None)


@pytest.fixture
def own_cache(own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a separate cache folder, and retry failed uploads quickly."""
    monkeypatch.setenv("ICANVAS_CACHE", str(tmp_path / "own-cache"))
    get_settings.cache_clear()
    monkeypatch.setattr(uploads, "_MIN_BACKOFF_S", 0.05)
    return tmp_path / "own-cache"
