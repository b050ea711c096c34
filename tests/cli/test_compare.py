from pathlib import Path

from storage import LocalStore
from storage.pair_sets import CurrentPairs, swap_current
from tests.cli.test_app import run_icanvas
from tests.model.checkpoints import save_test_run
from tests.model.pairs import publish_test_pairs


def test_invalid_arguments_fail_before_prefect_starts(store: LocalStore, tmp_path: Path) -> None:
    publish_test_pairs(store, "tttv")
    swap_current(store, "tiny", CurrentPairs(fingerprint="pairs", source="/x"), None)

    def read_error(*arguments: str) -> str:
        result = run_icanvas("compare", "tiny", *arguments)
        (line,) = result.stderr.splitlines()
        assert result.returncode == 3, line
        return line

    assert "icanvas train tiny" in read_error()
    save_test_run(store, "aaaa", 1)
    assert "no run bbbb" in read_error("--runs", "bbbb")
    (tmp_path / "page.html").write_text("<html>")
    assert "is a web page" in read_error("--sketches", str(tmp_path / "page.html"))
