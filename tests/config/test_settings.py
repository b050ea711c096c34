import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.errors import InputError
from config.settings import export_paths_to_env, get_settings, override_settings


def test_options_override_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICANVAS_WORKERS", "3")
    monkeypatch.setenv("ICANVAS_STORE", "/from/environment")
    get_settings.cache_clear()
    assert get_settings().workers == 3
    override_settings(workers=None, store="/from/option")
    assert (get_settings().workers, get_settings().store) == (3, "/from/option")


def test_exported_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STORE", "CACHE", "WEIGHTS", "CATALOGUE"):
        monkeypatch.setenv(f"ICANVAS_{name}", name.lower())
    get_settings.cache_clear()
    export_paths_to_env()
    exported = get_settings()
    assert exported.store == str(tmp_path / "store")
    assert exported.weights == tmp_path / "weights"
    monkeypatch.chdir("/")
    get_settings.cache_clear()
    assert get_settings() == exported
    override_settings(store="s3://bucket/prefix")
    assert get_settings().store == "s3://bucket/prefix"


def test_defaults_use_the_xdg_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ICANVAS_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    get_settings.cache_clear()
    assert get_settings().store == (tmp_path / "data/icanvas/store").as_uri()
    assert get_settings().cache == tmp_path / "cache/icanvas"


@pytest.mark.parametrize(
    ("name", "value"), [("WORKERS", "0"), ("WORKERS", "many"), ("ENGINE", "magic")]
)
def test_invalid_value_names_its_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ICANVAS_{name}", value)
    get_settings.cache_clear()
    with pytest.raises(InputError, match=f"ICANVAS_{name}='{value}'"):
        get_settings()


def test_prefect_analytics_are_off_unless_enabled() -> None:
    script = """
import tasks.acquire
from prefect.settings import get_current_settings
print(get_current_settings().server.analytics_enabled)
"""
    for value, expected in ((None, "False"), ("true", "True")):
        environment = {k: v for k, v in os.environ.items() if "ANALYTICS" not in k}
        if value:
            environment["PREFECT_SERVER_ANALYTICS_ENABLED"] = value
        completed = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert completed.stdout.strip() == expected


def test_an_unknown_setting_cannot_be_overridden() -> None:
    """The names are keyword arguments, which no type checker compares with the fields."""
    with pytest.raises(TypeError, match="no setting 'links'"):
        override_settings(links="https://example.com")
