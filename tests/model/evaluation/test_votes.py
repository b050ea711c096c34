import json
from typing import Any

import pytest

from config.errors import InputError
from model.evaluation.votes import Votes, count_votes, read_votes, read_votes_files

VALID_VOTES: dict[str, Any] = {
    "format": 1,
    "dataset": "demo",
    "comparison": "0123456789ab",
    "voter": "",
    "at": "2026-11-27T18:11:28.948Z",
    "votes": [
        {"sketch": "a.png", "chosen": "run/12"},
        {"sketch": "b.png", "chosen": None},
        {"sketch": "c.png", "chosen": "run/12"},
        {"sketch": "d.png", "chosen": "other/3"},
    ],
}


def read_changed(**changes: Any) -> Votes:
    return read_votes(json.dumps({**VALID_VOTES, **changes}).encode())


def test_votes_are_read_and_counted() -> None:
    votes = read_changed()
    assert votes.at.tzinfo is not None
    assert count_votes([votes]) == {"run/12": 2, None: 1, "other/3": 1}
    assert count_votes([votes, votes])["run/12"] == 4
    assert count_votes([]) == {}
    other = votes.model_copy(update={"voter": "another"})
    files = [it.model_dump_json().encode() for it in (votes, other, votes)]
    assert read_votes_files(files, "demo") == (votes, other), "a file given twice counts once"
    with pytest.raises(InputError, match="for demo, not for shoes"):
        read_votes_files(files, "shoes")
    assert read_votes(votes.model_dump_json().encode()) == votes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format"),
        ({"at": "2026-11-27T18:11:28"}, "at"),
        ({"comparison": "../../etc"}, "comparison"),
        ({"votes": []}, "votes"),
        ({"votes": [{"sketch": "a", "chosen": "no epoch"}]}, "votes.0.chosen"),
        ({"votes": [{"sketch": "a"}]}, "votes.0.chosen"),
        ({"votes": [{"sketch": "a", "chosen": None}] * 2}, "two votes"),
        ({"more": 1}, "more"),
    ],
)
def test_invalid_votes_give_one_line_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_changed(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_other_bytes_are_rejected(data: bytes) -> None:
    with pytest.raises(InputError, match="not a votes file"):
        read_votes(data)
