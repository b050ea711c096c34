"""Read and write small JSON objects, such as pointers and records, as pydantic models."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from config.errors import CorruptObjectError, IntegrityError
from storage.store import ObjectStore, get_or_none

_Model = TypeVar("_Model", bound=BaseModel)


def read_json(store: ObjectStore, key: str, model: type[_Model], remedy: str) -> _Model | None:
    """Read a JSON object and validate it.

    Parameters
    ----------
    store : ObjectStore
        The store.
    key : str
        Key of the JSON object.
    model : type of pydantic.BaseModel
        Class that validates the content.
    remedy : str
        What to do after the object was deleted, for the error message, such as
        ``run `icanvas prepare cat` ``.

    Returns
    -------
    model instance or None
        None if the object does not exist.

    Raises
    ------
    IntegrityError
        If the object is corrupt or does not validate.
    """
    try:
        content = get_or_none(store, key)
        return None if content is None else model.model_validate_json(content)
    except ValidationError as error:
        cause = error.errors()[0]["msg"]
    except CorruptObjectError:
        # Replace its advice: the remedy depends on what this object references.
        cause = "it fails its checksum"
    raise IntegrityError(f"{store.location(key)} is corrupt: {cause}. Delete it and {remedy}.")


def write_json(store: ObjectStore, key: str, model: BaseModel) -> None:
    """Write a model as indented JSON, replacing an existing object.

    Parameters
    ----------
    store : ObjectStore
        The store.
    key : str
        Key of the JSON object.
    model : pydantic.BaseModel
        The content.
    """
    store.put(key, model.model_dump_json(indent=2).encode())
