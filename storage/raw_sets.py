"""Raw sets: where their files came from, and on which terms they are used."""

from pydantic import BaseModel, ConfigDict

from storage import keys
from storage.json_objects import read_record
from storage.store import ObjectStore


class Origin(BaseModel):
    """Where the files of a data set came from; kept beside each raw set.

    Attributes
    ----------
    source : the catalogue's source as one line.
    identity : digest of the files; of an archive its SHA-256 (hex).
    tables : the same of the tables; null where none were read.
    read_from : address without its query, or path.
    size : of the archive in bytes; null where it was not fetched.
    taken : which of the files, for a person.
    candidates : files that a choice was made from; null where none was made.
    licence : as the catalogue states it.
    stated : what the host says of it: licence, version, size, title.
    acquired : day, as YYYY-MM-DD in UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    identity: str
    tables: str | None = None
    read_from: str
    size: int | None = None
    taken: str = ""
    candidates: int | None = None
    licence: str = ""
    stated: dict[str, str | int] = {}
    acquired: str


class Acceptance(BaseModel):
    """That someone accepted a data set's licence.

    Attributes
    ----------
    licence, homepage : as they were shown.
    accepted : day, as YYYY-MM-DD in UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    licence: str
    homepage: str | None
    accepted: str


def read_origin(store: ObjectStore, key: str) -> Origin | None:
    """Return what ``keys.raw_origin`` or ``keys.newest_origin`` holds; None where nothing.

    Raises
    ------
    IntegrityError
        If it cannot be read.
    """
    return read_record(store, key, Origin, "run again")


def read_acceptance(store: ObjectStore, dataset: str) -> Acceptance | None:
    """Return the acceptance of a data set's licence; None where there is none.

    Raises
    ------
    IntegrityError
        If it cannot be read.
    """
    return read_record(store, keys.acceptance(dataset), Acceptance, "run again")


def write(store: ObjectStore, key: str, record: Origin | Acceptance) -> None:
    """Write a record, replacing one of that key."""
    store.put(key, record.model_dump_json(indent=2).encode())
