from pathlib import Path

from storage import LocalStore
from storage.pair_sets import CurrentPairs, swap_current
from tests.cli.test_app import icanvas
from tests.model.checkpoints import keep_run
from tests.model.pairs import publish


def test_slips_are_met_before_anything_starts(store: LocalStore, tmp_path: Path) -> None:
    publish(store, "tttv")
    swap_current(store, "tiny", CurrentPairs(fingerprint="pairs", source="/x"), None)

    def slip(*words: str) -> str:
        ended = icanvas("compare", "tiny", *words)
        (line,) = ended.stderr.splitlines()
        assert ended.returncode == 3, line
        return line

    assert "icanvas train tiny" in slip()
    keep_run(store, "aaaa", 1)
    assert "no run bbbb" in slip("--runs", "bbbb")
    (tmp_path / "page.html").write_text("<html>")
    assert "is a web page" in slip("--sketches", str(tmp_path / "page.html"))
