from pathlib import Path

import pytest

from config.errors import InputError
from serving.settings import get_serve_settings, override_serve_settings, read_api_keys

KEY = "a-key-of-24-characters-x"


@pytest.fixture(autouse=True)
def clear_settings_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    get_serve_settings.cache_clear()


def test_options_override_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICANVAS_SERVE_PORT", "9000")
    monkeypatch.setenv("ICANVAS_SERVE_QUEUE_SIZE", "7")
    override_serve_settings(port=9001, queue_size=None)
    assert (get_serve_settings().port, get_serve_settings().queue_size) == (9001, 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "99999"),
        ("ENGINE", "magic"),
        ("TRUSTED_PROXIES", "10.0.0.1, proxy"),
        ("CORS_ORIGINS", "draw.example.com"),
        ("CORS_ORIGINS", "https://draw.example.com/page"),
        ("RATE", "inf"),
        ("SAFETY", "perhaps"),
    ],
)
def test_invalid_value_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"ICANVAS_SERVE_{name}", value)
    with pytest.raises(InputError, match=f"ICANVAS_SERVE_{name}="):
        get_serve_settings()


def test_keys_are_read_from_setting_and_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert read_api_keys(get_serve_settings()) == ()
    file = tmp_path / "keys"
    file.write_text(f"{KEY}1\n\n  {KEY}2 \n")
    monkeypatch.setenv("ICANVAS_SERVE_KEY", KEY)
    monkeypatch.setenv("ICANVAS_SERVE_KEY_FILE", str(file))
    get_serve_settings.cache_clear()
    assert read_api_keys(get_serve_settings()) == (KEY, f"{KEY}1", f"{KEY}2")
    assert KEY not in repr(get_serve_settings())


@pytest.mark.parametrize("content", [None, "", " \n", "short\n", "ein-schlüssel-mit-umlaut\n"])
def test_key_file_without_valid_keys_raises_input_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("ICANVAS_SERVE_KEY_FILE", str(file))
    with pytest.raises(InputError) as error:
        read_api_keys(get_serve_settings())
    assert not content or not content.strip() or content.strip() not in str(error.value)
