from pathlib import Path

import pytest

from serving.page_files import load_page_files
from storage import LocalStore
from tests.serving.live_server import run_test_server


def test_only_the_pages_own_kinds_of_files_are_sent(tmp_path: Path) -> None:
    for name in ("index.html", "style.css", "main.js", "icon.svg", "notes.md", ".secret.js.swp"):
        (tmp_path / name).write_text(name)
    (tmp_path / "below.js").mkdir()
    found = load_page_files(tmp_path)
    assert sorted(found) == ["icon.svg", "index.html", "main.js", "style.css"]
    assert found["main.js"].media_type == "text/javascript; charset=utf-8"
    assert len({file.etag for file in found.values()}) == 4
    assert load_page_files(tmp_path / "nowhere") == {}


def test_the_page_is_sent_and_not_sent_again(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>드로잉</title>")
    (folder / "main.js").write_text("export {};")
    # Of a kind that would be sent, and one folder too high.
    (tmp_path / "beside.js").write_text("secret")
    monkeypatch.setattr("serving.state.load_page", lambda: load_page_files(folder))
    with run_test_server(store) as server:
        page = server.client.get("/")
        assert "드로잉" in page.text
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert page.headers["Cache-Control"] == "no-cache"
        script = server.client.get("/static/main.js")
        assert script.text == "export {};"
        for address, sent in (("/", page), ("/static/main.js", script)):
            for known in (sent.headers["ETag"], f'"x", W/{sent.headers["ETag"]}'):
                again = server.client.get(address, headers={"If-None-Match": known})
                assert (again.status_code, again.content) == (304, b"")
            old = server.client.get(address, headers={"If-None-Match": '"old"'})
            assert old.status_code == 200
            head = server.client.head(address)
            assert (head.status_code, head.content) == (200, b"")
        above = ("../beside.js", "..%2fbeside.js", "%2e%2e/beside.js", str(tmp_path / "beside.js"))
        for wrong in ("none.js", *above, ""):
            answer = server.client.get(f"/static/{wrong}")
            assert answer.status_code == 404
            assert "secret" not in answer.text
