import io

import pytest
from rich.console import Console

from tasks.progress import advance, bar, move, show_progress


def shown(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def make_console() -> Console:
    return Console(file=io.StringIO(), width=120)


def test_bars_count_and_stay() -> None:
    console = make_console()
    with show_progress(console):
        with bar("extract", 4, "pictures", done=1):
            advance("extract")
            advance("extract", 2)
        with bar("fetch", unit="bytes"):
            move("fetch", 5_000_000, 5_000_000)
    assert "4/4 pictures" in shown(console)
    assert "5.0 MB/5.0 MB" in shown(console)


def test_a_wait_that_counted_nothing_goes_away() -> None:
    console = make_console()
    with show_progress(console), bar("start"):
        pass
    assert "start" not in shown(console)


def test_without_a_display_counting_does_nothing() -> None:
    with bar("hidden", 2):
        advance("hidden")
        move("hidden", 1, 2)
    advance("unknown")


def test_a_log_file_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.progress._LINE_EVERY", 0.0)
    console = make_console()
    with show_progress(console), bar("extract", 3, "pictures"):
        advance("extract")
        assert "extract: 1/3 pictures" in shown(console)
        advance("extract")
        assert "extract: 2/3 pictures" in shown(console)
