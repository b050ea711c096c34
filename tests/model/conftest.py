from pathlib import Path

import pytest

from config.settings import get_settings
from storage import local


@pytest.fixture(autouse=True)
def own_cache(own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep runs' outboxes away from the user's cache; nothing here needs HED's weights."""
    folder = tmp_path / "own-cache"
    monkeypatch.setenv("ICANVAS_CACHE", str(folder))
    get_settings.cache_clear()
    monkeypatch.setattr(local, "fsync", lambda _path: None)
    return folder
