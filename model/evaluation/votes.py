"""Votes that people cast on the voting page of a comparison."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from config.errors import InputError
from storage import ObjectStore, keys


class Vote(BaseModel):
    """Choice for one drawing.

    Attributes
    ----------
    sketch : str
        Path of the drawing.
    chosen : str or None
        ``RUN/EPOCH``; None if none of the pictures was good.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sketch: str = Field(min_length=1, max_length=4096)
    chosen: str | None = Field(pattern=r"^[^/\s]+/\d{1,9}$", max_length=200)


class Votes(BaseModel):
    """Votes of one person, in the format that the voting page saves.

    Attributes
    ----------
    format : int
        Version of the format.
    dataset : str
        The data set whose checkpoints were compared.
    comparison : str
        Fingerprint of the comparison, 12 hex digits.
    voter : str
        Name of the voter; may be empty.
    at : datetime
        When voting was finished; with a time zone.
    votes : tuple of Vote
        At most one for each drawing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    dataset: str = Field(min_length=1)
    comparison: str = Field(pattern=r"^[0-9a-f]{12}$")
    voter: str = Field(max_length=200)
    at: AwareDatetime
    votes: tuple[Vote, ...] = Field(min_length=1, max_length=10_000)


def read_votes(data: bytes) -> Votes:
    """Parse the content of a votes file.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    Votes

    Raises
    ------
    InputError
        If the content is invalid; the message has one line.
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
        raise InputError(f"This is not a votes file: {duplicates[0]!r} has two votes.")
    return votes


def read_votes_files(files: Iterable[bytes], dataset: str) -> tuple[Votes, ...]:
    """Parse several votes files; identical files count once.

    Parameters
    ----------
    files : iterable of bytes
        Contents.
    dataset : str
        The data set whose checkpoints were compared.

    Returns
    -------
    tuple of Votes

    Raises
    ------
    InputError
        If a file is invalid or belongs to another data set; the message has one line.
    """
    votes = tuple(dict.fromkeys(read_votes(data) for data in files))
    for file_votes in votes:
        if file_votes.dataset != dataset:
            raise InputError(f"These votes are for {file_votes.dataset}, not for {dataset}.")
    return votes


def save_votes(store: ObjectStore, dataset: str, votes: Sequence[Votes]) -> str | None:
    """Store the votes that a checkpoint was chosen by.

    Parameters
    ----------
    store : ObjectStore
    dataset : str
    votes : sequence of Votes

    Returns
    -------
    str or None
        Key of the stored object; None without votes.
    """
    if not votes:
        return None
    data = json.dumps([ballot.model_dump(mode="json") for ballot in votes], indent=2).encode()
    key = keys.votes(dataset, hashlib.sha256(data).hexdigest()[:12])
    store.put(key, data)
    return key


def count_votes(votes: Iterable[Votes]) -> dict[str | None, int]:
    """Count the votes for each checkpoint, and for None, in descending order.

    Parameters
    ----------
    votes : iterable of Votes

    Returns
    -------
    dict of str or None to int
    """
    counts = Counter(vote.chosen for ballot in votes for vote in ballot.votes)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0] or "")))
