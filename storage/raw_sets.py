"""Raw sets: where their files came from, and on which terms they are used."""

from pydantic import BaseModel, ConfigDict, Field

from storage import keys
from storage.json_objects import read_json
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

    # The aliases are the stored JSON's keys, which may not change.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    source: str
    identity: str
    tables: str | None = None
    read_from: str
    size: int | None = None
    selection: str = Field("", validation_alias="taken", serialization_alias="taken")
    candidates: int | None = None
    license: str = Field("", validation_alias="licence", serialization_alias="licence")
    host_metadata: dict[str, str | int] = Field(
        {}, validation_alias="stated", serialization_alias="stated"
    )
    acquired: str


class LicenseAcceptance(BaseModel):
    """That someone accepted a data set's licence.

    Attributes
    ----------
    licence, homepage : as they were shown.
    accepted : day, as YYYY-MM-DD in UTC.
    """

    # The aliases are the stored JSON's keys, which may not change.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    license: str = Field(validation_alias="licence", serialization_alias="licence")
    homepage: str | None
    accepted: str


def read_origin(store: ObjectStore, key: str) -> Origin | None:
    """Return what ``keys.raw_origin`` or ``keys.newest_origin`` holds; None where nothing.

    Raises
    ------
    IntegrityError
        If it cannot be read.
    """
    return read_json(store, key, Origin, "run again")


def read_acceptance(store: ObjectStore, dataset: str) -> LicenseAcceptance | None:
    """Return the acceptance of a data set's licence; None where there is none.

    Raises
    ------
    IntegrityError
        If it cannot be read.
    """
    return read_json(store, keys.license_acceptance(dataset), LicenseAcceptance, "run again")
