from pathlib import Path

import pytest

from serving.page_files import load_page_files
from storage import LocalStore
from tests.serving.live_server import run_test_server


def test_only_known_file_types_are_loaded(tmp_path: Path) -> None:
    for name in ("index.html", "style.css", "main.js", "icon.svg", "notes.md", ".secret.js.swp"):
        (tmp_path / name).write_text(name)
    (tmp_path / "below.js").mkdir()
    files = load_page_files(tmp_path)
    assert sorted(files) == ["icon.svg", "index.html", "main.js", "style.css"]
    assert files["main.js"].media_type == "text/javascript; charset=utf-8"
    assert len({file.etag for file in files.values()}) == 4
    assert load_page_files(tmp_path / "nowhere") == {}


def test_page_is_sent_with_etag_and_304(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>드로잉</title>")
    (folder / "main.js").write_text("export {};")
    # A known file type, but in the parent folder.
    (tmp_path / "beside.js").write_text("secret")
    monkeypatch.setattr("serving.state.load_page_files", lambda: load_page_files(folder))
    with run_test_server(store) as server:
        page = server.client.get("/")
        assert "드로잉" in page.text
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert page.headers["Cache-Control"] == "no-cache"
        script = server.client.get("/static/main.js")
        assert script.text == "export {};"
        for address, first in (("/", page), ("/static/main.js", script)):
            for etag in (first.headers["ETag"], f'"x", W/{first.headers["ETag"]}'):
                second = server.client.get(address, headers={"If-None-Match": etag})
                assert (second.status_code, second.content) == (304, b"")
            outdated = server.client.get(address, headers={"If-None-Match": '"outdated"'})
            assert outdated.status_code == 200
            head = server.client.head(address)
            assert (head.status_code, head.content) == (200, b"")
        outside = (
            "../beside.js",
            "..%2fbeside.js",
            "%2e%2e/beside.js",
            str(tmp_path / "beside.js"),
        )
        for path in ("none.js", *outside, ""):
            response = server.client.get(f"/static/{path}")
            assert response.status_code == 404
            assert "secret" not in response.text
