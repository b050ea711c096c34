"""Small JSON objects: pointers, and what is known of a set."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from config.errors import DamagedError, IntegrityError
from storage.store import ObjectStore, get_or_none

_Record = TypeVar("_Record", bound=BaseModel)


def read_record(store: ObjectStore, key: str, form: type[_Record], remedy: str) -> _Record | None:
    """Return the record of a key; None where there is none.

    Raises
    ------
    IntegrityError
        If it cannot be read; the message says to delete it and, as ``remedy`` has it, what next.
    """
    try:
        content = get_or_none(store, key)
        return None if content is None else form.model_validate_json(content)
    except ValidationError as error:
        why = error.errors()[0]["msg"]
    except DamagedError:
        # Its own advice knows nothing of what hangs on this record.
        why = "it fails its checksum"
    raise IntegrityError(f"{store.location(key)} is damaged: {why}. Delete it and {remedy}.")
