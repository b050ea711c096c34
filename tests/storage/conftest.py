import pytest

from storage import ObjectStore, local


@pytest.fixture(params=["local", "s3"])
def any_store(request: pytest.FixtureRequest) -> ObjectStore:
    store: ObjectStore = request.getfixturevalue("s3_store" if request.param == "s3" else "store")
    return store


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the disk where a test makes hundreds of stores."""
    monkeypatch.setattr(local, "sync", lambda _path: None)
