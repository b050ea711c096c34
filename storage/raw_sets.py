"""Raw sets: the records of where their files came from, and of accepted licenses."""

from pydantic import BaseModel, ConfigDict, Field

from storage import keys
from storage.json_objects import read_json
from storage.store import ObjectStore


class Origin(BaseModel):
    """Where the files of a data set came from; stored beside each raw set.

    Attributes
    ----------
    source : str
        The catalogue's source as one line.
    identity : str
        Digest of the files; of an archive its SHA-256 (hex).
    tables : str or None
        Digest of the tables that select files; None if none were read.
    read_from : str
        Path, or URL without its query.
    size : int, bytes, or None
        Length of the archive; None if none was downloaded.
    selection : str
        Which of the files were selected, for people.
    candidates : int or None
        Number of files that a random choice was made from; None without a choice.
    license : str
        License as the catalogue states it.
    host_metadata : dict of str to str or int
        What the host states: license, version, size, title.
    acquired : str
        Date as YYYY-MM-DD in UTC.
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
    """Record that a user accepted a data set's license.

    Attributes
    ----------
    license : str
        Text of the license as it was displayed.
    homepage : str or None
        The data set's homepage as it was displayed.
    accepted : str
        Date as YYYY-MM-DD in UTC.
    """

    # The aliases are the stored JSON's keys, which may not change.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    license: str = Field(validation_alias="licence", serialization_alias="licence")
    homepage: str | None
    accepted: str


def read_origin(store: ObjectStore, key: str) -> Origin | None:
    """Read the record of where files came from.

    Parameters
    ----------
    store : ObjectStore
        The store.
    key : str
        ``keys.raw_origin`` or ``keys.latest_origin``.

    Returns
    -------
    Origin or None
        None if there is no record.

    Raises
    ------
    IntegrityError
        If the record cannot be read.
    """
    return read_json(store, key, Origin, "run again")


def read_acceptance(store: ObjectStore, dataset: str) -> LicenseAcceptance | None:
    """Read the record that a data set's license was accepted.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.

    Returns
    -------
    LicenseAcceptance or None
        None if the license was not accepted.

    Raises
    ------
    IntegrityError
        If the record cannot be read.
    """
    return read_json(store, keys.license_acceptance(dataset), LicenseAcceptance, "run again")
