import json
from pathlib import Path
from typing import Any

import pytest

from config.recipe import Recipe
from model.training.train import train
from storage import LocalStore
from storage.pair_sets import CurrentPairs, swap_current
from storage.promotions import read_promoted
from tests.cli.test_app import run_icanvas
from tests.model.pairs import publish_test_pairs

SMALL = Recipe(
    batch=2, epochs=2, image_size=64, generator_width=4, generator_blocks=1, discriminator_width=4
)


def make_votes_file(dataset: str, chosen: str) -> dict[str, Any]:
    return {
        "format": 1,
        "dataset": dataset,
        "comparison": "0" * 12,
        "voter": "me",
        "at": "2026-01-01T00:00:00Z",
        "votes": [{"sketch": "a.png", "chosen": chosen}],
    }


@pytest.mark.slow
def test_promote_and_roll_back(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish_test_pairs(store, "tttv")
    swap_current(store, "tiny", CurrentPairs(fingerprint="pairs", source="/x"), None)
    assert run_icanvas("promote", "tiny").returncode == 3
    monkeypatch.setattr("model.training.artifacts.render_loss_plot", lambda *_: b"")
    run = train(store, "tiny", "pairs", SMALL).run

    first = run_icanvas("promote", "tiny", f"{run}/1", "--note", "a start", "--by", "me")
    assert f"tiny: {run}/1 is in service; a running server loads it" in first.stdout
    assert "icanvas serve" in first.stdout
    votes, more_votes = tmp_path / "votes.json", tmp_path / "more.json"
    votes.write_text(json.dumps(ballot := make_votes_file("tiny", f"{run}/2")))
    more_votes.write_text(json.dumps(ballot | {"voter": "another"}))
    # A votes file that is passed twice counts once.
    vote_options = [part for file in (votes, more_votes, votes) for part in ("--votes", str(file))]
    second = run_icanvas("promote", "tiny", "last", *vote_options)
    assert "icanvas rollback tiny" in second.stdout
    assert f"2 votes for {run}/2" in second.stdout
    served = read_promoted(store, "tiny")
    assert served is not None
    assert (served.epoch, served.previous[0].note, served.previous[0].by) == (2, "a start", "me")
    assert served.votes is not None
    assert [entry["votes"] for entry in json.loads(store.get(served.votes))] == [
        ballot["votes"]
    ] * 2
    assert "is in service already" in run_icanvas("promote", "tiny", f"{run}/2").stdout

    listed = run_icanvas("promote", "tiny").stdout.splitlines()
    lines = {word: line for line in listed for word in line.split() if word.startswith(f"{run}/")}
    assert lines[f"{run}/1"].endswith("was in service")
    assert lines[f"{run}/2"].startswith("✓")

    assert f"tiny: {run}/1 is in service" in run_icanvas("rollback", "tiny").stdout
    failed = run_icanvas("rollback", "tiny", "--to", "0/9")
    assert (failed.returncode, len(failed.stderr.splitlines())) == (2, 1)
    votes.write_text(json.dumps(make_votes_file("panda", f"{run}/2")))
    for file, expected in (
        (votes, "votes are for panda"),
        (tmp_path / "none", "failed: No such file"),
    ):
        failed = run_icanvas("promote", "tiny", "last", "--votes", str(file))
        assert (failed.returncode, len(failed.stderr.splitlines())) == (2, 1)
        assert expected in failed.stderr
    failed = run_icanvas("promote", "tiny", "0/9")
    assert (failed.returncode, len(failed.stderr.splitlines())) == (5, 1)
