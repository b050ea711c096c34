from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import artifacts

from tasks import progress_artifacts
from tasks.progress import advance, bar, move, settle

Shown = dict[UUID, list[Any]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Return what the server is told by bar: its words, and how far it is."""
    told: Shown = {}

    def create(progress: float, key: str, description: str) -> UUID:
        told[artifact := uuid4()] = [description, progress]
        return artifact

    monkeypatch.setattr(progress_artifacts, "is_deployed", lambda: True)
    monkeypatch.setattr(artifacts, "create_progress_artifact", create)
    monkeypatch.setattr(
        artifacts, "update_progress_artifact", lambda it, progress: told[it].append(progress)
    )
    return told


def test_a_bar_tells_its_end_and_not_every_step(shown: Shown) -> None:
    with bar("tiny: extract", 40, "pictures"):
        for _ in range(30):
            advance("tiny: extract")
    assert list(shown.values()) == [["tiny: extract, 40 pictures", 0.0, 75.0]]


def test_a_bar_moves_when_it_is_due(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_artifacts, "_EVERY", 0)
    with bar("a", 4):
        advance("a")
        move("a", 3, 4)
    assert list(shown.values()) == [["a, 4", 0.0, 25.0, 75.0, 75.0]]


def test_a_bar_appears_once_its_end_is_known(shown: Shown) -> None:
    with bar("a", unit="files"):
        advance("a", 2)
        assert not shown
        move("a", 5, 10)
        assert list(shown.values()) == [["a, 10 files", 50.0]]
    with bar("b"):
        advance("b")
    assert len(shown) == 1, "one without an end is shown"


def test_what_is_settled_ends_full(shown: Shown) -> None:
    with bar("a", 100):
        advance("a", 60)
        settle("a")
    assert list(shown.values()) == [["a, 100", 0.0, 100.0]]
    with bar("empty", 100):
        settle("empty")
    assert list(shown.values())[1][-1] == 100.0


@pytest.mark.parametrize("name", ["create_progress_artifact", "update_progress_artifact"])
def test_a_server_that_is_away_stops_nothing(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(artifacts, name, refuse)
    with bar("a", 4):
        advance("a")


def test_a_command_shows_none(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_artifacts, "is_deployed", lambda: False)
    with bar("a", 4):
        advance("a")
    assert not shown
