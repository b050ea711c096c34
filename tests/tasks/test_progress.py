import io
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import artifacts
from rich.console import Console

from tasks import progress
from tasks.progress import advance, complete_bar, progress_bar, set_progress, show_progress

ArtifactLog = dict[UUID, list[Any]]


def read_output(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def make_console() -> Console:
    return Console(file=io.StringIO(), width=120)


def test_finished_bars_stay_visible() -> None:
    console = make_console()
    with show_progress(console):
        with progress_bar("extract", 4, "pictures", done=1):
            advance("extract")
            advance("extract", 2)
        with progress_bar("fetch", unit="bytes"):
            set_progress("fetch", 5_000_000, 5_000_000)
    assert "4/4 pictures" in read_output(console)
    assert "5.0 MB/5.0 MB" in read_output(console)


def test_bar_without_counts_is_removed() -> None:
    console = make_console()
    with show_progress(console), progress_bar("start"):
        pass
    assert "start" not in read_output(console)


def test_counting_without_display_does_nothing() -> None:
    with progress_bar("hidden", 2):
        advance("hidden")
        set_progress("hidden", 1, 2)
    advance("unknown")


def test_log_file_gets_periodic_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.progress._LINE_INTERVAL_S", 0.0)
    console = make_console()
    with show_progress(console), progress_bar("extract", 3, "pictures"):
        advance("extract")
        assert "extract: 1/3 pictures" in read_output(console)
        advance("extract")
        assert "extract: 2/3 pictures" in read_output(console)


@pytest.fixture
def artifact_log(monkeypatch: pytest.MonkeyPatch) -> ArtifactLog:
    """Return the description and the percentages that each artifact got."""
    log: ArtifactLog = {}

    def create(progress: float, key: str, description: str) -> UUID:
        log[artifact := uuid4()] = [description, progress]
        return artifact

    monkeypatch.setattr(progress, "is_deployed", lambda: True)
    monkeypatch.setattr(artifacts, "create_progress_artifact", create)
    monkeypatch.setattr(
        artifacts, "update_progress_artifact", lambda it, progress: log[it].append(progress)
    )
    return log


def test_artifact_is_not_updated_at_every_step(artifact_log: ArtifactLog) -> None:
    with progress_bar("tiny: extract", 40, "pictures"):
        for _ in range(30):
            advance("tiny: extract")
    assert list(artifact_log.values()) == [["tiny: extract, 40 pictures", 0.0, 75.0]]


def test_artifact_is_updated_after_interval(
    artifact_log: ArtifactLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_UPDATE_INTERVAL_S", 0)
    with progress_bar("a", 4):
        advance("a")
        set_progress("a", 3, 4)
    assert list(artifact_log.values()) == [["a, 4", 0.0, 25.0, 75.0, 75.0]]


def test_artifact_is_created_when_total_is_known(artifact_log: ArtifactLog) -> None:
    with progress_bar("a", unit="files"):
        advance("a", 2)
        assert not artifact_log
        set_progress("a", 5, 10)
        assert list(artifact_log.values()) == [["a, 10 files", 50.0]]
    with progress_bar("b"):
        advance("b")
    assert len(artifact_log) == 1, "a bar without total has an artifact"


def test_completed_bar_ends_at_100_percent(artifact_log: ArtifactLog) -> None:
    with progress_bar("a", 100):
        advance("a", 60)
        complete_bar("a")
    assert list(artifact_log.values()) == [["a, 100", 0.0, 100.0]]
    with progress_bar("empty", 100):
        complete_bar("empty")
    assert list(artifact_log.values())[1][-1] == 100.0


@pytest.mark.parametrize("name", ["create_progress_artifact", "update_progress_artifact"])
def test_artifact_errors_are_ignored(
    artifact_log: ArtifactLog, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(artifacts, name, refuse)
    with progress_bar("a", 4):
        advance("a")


def test_command_creates_no_artifact(
    artifact_log: ArtifactLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "is_deployed", lambda: False)
    with progress_bar("a", 4):
        advance("a")
    assert not artifact_log
