import logging

import pytest

from config.settings import override_settings
from storage import LocalStore
from tasks import artifacts
from tasks.artifacts import create_artifact, render_link


def test_an_object_is_a_path_or_a_link(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "datasets/my cats/pairs/0/report.html"
    assert render_link(store, key) == f"`{store.location(key)}`"
    monkeypatch.setenv("ICANVAS_LINKS", "https://objects.example.com/icanvas/")
    override_settings()
    expected = "https://objects.example.com/icanvas/datasets/my%20cats/pairs/0/report.html"
    assert render_link(store, key) == f"[report.html]({expected})"


def test_a_page_that_is_not_taken_fails_no_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**_: str) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(artifacts, "create_markdown_artifact", refuse)
    monkeypatch.setattr(artifacts, "get_run_logger", lambda: logging.getLogger("here"))
    create_artifact("pairs-tiny", "Pair set of tiny", "| |")
    assert "Creating the artifact 'Pair set of tiny' failed: away" in caplog.text
