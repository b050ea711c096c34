from pathlib import Path

import pytest

from config.settings import get_settings
from storage import local


@pytest.fixture(autouse=True)
def own_cache(own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty cache folder instead of the user's; no test here needs HED's weights."""
    folder = tmp_path / "own-cache"
    monkeypatch.setenv("ICANVAS_CACHE", str(folder))
    get_settings.cache_clear()
    monkeypatch.setattr(local, "fsync", lambda _path: None)
    return folder
