"""What people chose on the page of a comparison."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from config.errors import InputError
from storage import ObjectStore, keys


class Vote(BaseModel):
    """What was chosen for one drawing.

    Attributes
    ----------
    sketch : the drawing's path.
    chosen : ``RUN/EPOCH``; None where none of the pictures was good.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sketch: str = Field(min_length=1, max_length=4096)
    chosen: str | None = Field(pattern=r"^[^/\s]+/\d{1,9}$", max_length=200)


class Votes(BaseModel):
    """One person's votes, as the page saves them.

    Attributes
    ----------
    format : of the file.
    dataset : whose checkpoints.
    comparison : fingerprint of the comparison.
    voter : who; may be empty.
    at : when they were done.
    votes : one for each drawing that was voted on; no drawing has two.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    dataset: str = Field(min_length=1)
    comparison: str = Field(pattern=r"^[0-9a-f]{12}$")
    voter: str = Field(max_length=200)
    at: AwareDatetime
    votes: tuple[Vote, ...] = Field(min_length=1, max_length=10_000)


def read_votes(data: bytes) -> Votes:
    """Return the votes of a file.

    Raises
    ------
    InputError
        If it holds none; in one line.
    """
    try:
        votes = Votes.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors()[0]
        location = ".".join(str(part) for part in fault["loc"])
        raise InputError(
            f"This is not a votes file: {location + ': ' if location else ''}{fault['msg']}. Save "
            "it again on the voting page of the comparison."
        ) from None
    duplicates = [
        name for name, count in Counter(it.sketch for it in votes.votes).items() if count > 1
    ]
    if duplicates:
        raise InputError(f"This is not a votes file: {duplicates[0]!r} was voted on twice.")
    return votes


def read_votes_files(files: Iterable[bytes], dataset: str) -> tuple[Votes, ...]:
    """Return the votes of several files, those of a file that was given twice once.

    Parameters
    ----------
    files : contents.
    dataset : whose checkpoints were voted on.

    Raises
    ------
    InputError
        If one holds none, or those of another data set; in one line.
    """
    votes = tuple(dict.fromkeys(read_votes(data) for data in files))
    for file_votes in votes:
        if file_votes.dataset != dataset:
            raise InputError(f"These votes are of {file_votes.dataset}, not of {dataset}.")
    return votes


def save_votes(store: ObjectStore, dataset: str, votes: Sequence[Votes]) -> str | None:
    """Keep what a checkpoint of a data set was chosen by; return its key, None without votes."""
    if not votes:
        return None
    data = json.dumps([ballot.model_dump(mode="json") for ballot in votes], indent=2).encode()
    key = keys.votes(dataset, hashlib.sha256(data).hexdigest()[:12])
    store.put(key, data)
    return key


def count_votes(votes: Iterable[Votes]) -> dict[str | None, int]:
    """Return how often each checkpoint was chosen, and None how often none was; most first."""
    counts = Counter(vote.chosen for ballot in votes for vote in ballot.votes)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0] or "")))
