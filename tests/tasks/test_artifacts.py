import logging

import pytest

from config.settings import override_settings
from storage import LocalStore
from tasks import artifacts
from tasks.artifacts import create_artifact, render_link


def test_render_link_needs_web_url_for_a_link(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "datasets/my cats/pairs/0/report.html"
    assert render_link(store, key) == f"`{store.location(key)}`"
    monkeypatch.setenv("ICANVAS_STORE_WEB_URL", "https://objects.example.com/icanvas/")
    override_settings()
    expected = "https://objects.example.com/icanvas/datasets/my%20cats/pairs/0/report.html"
    assert render_link(store, key) == f"[report.html]({expected})"


def test_failed_artifact_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**_: str) -> None:
        raise ConnectionError("unreachable")

    monkeypatch.setattr(artifacts, "create_markdown_artifact", refuse)
    monkeypatch.setattr(artifacts, "get_run_logger", lambda: logging.getLogger("here"))
    create_artifact("pairs-tiny", "Pair set of tiny", "| |")
    assert "Creating the artifact 'Pair set of tiny' failed: unreachable" in caplog.text
