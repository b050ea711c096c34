"""Small JSON objects: pointers, and what is known of a set."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from config.errors import CorruptObjectError, IntegrityError
from storage.store import ObjectStore, get_or_none

_Model = TypeVar("_Model", bound=BaseModel)


def read_json(store: ObjectStore, key: str, model: type[_Model], remedy: str) -> _Model | None:
    """Return the record of a key; None where there is none.

    Raises
    ------
    IntegrityError
        If it cannot be read; the message says to delete it and, as ``remedy`` has it, what next.
    """
    try:
        content = get_or_none(store, key)
        return None if content is None else model.model_validate_json(content)
    except ValidationError as error:
        cause = error.errors()[0]["msg"]
    except CorruptObjectError:
        # Its own advice knows nothing of what hangs on this record.
        cause = "it fails its checksum"
    raise IntegrityError(f"{store.location(key)} is damaged: {cause}. Delete it and {remedy}.")


def write_json(store: ObjectStore, key: str, model: BaseModel) -> None:
    """Write a model as indented JSON, replacing an object of that key."""
    store.put(key, model.model_dump_json(indent=2).encode())
