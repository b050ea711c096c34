"""What is worth another try, and what is not."""

from typing import Any

from config.errors import ConflictError, DamagedError, IntegrityError, NotFoundError, StorageError
from sources.fetch.host_api import Unavailable
from tasks.deployments import is_deployed


def is_storage_fault(_task: object, _run: object, state: Any) -> bool:
    """Tell whether a task failed for its store, which may come back.

    Bad settings and damaged bytes do not mend themselves, and what is not there will not be.
    """
    error = _error_of(state)
    return isinstance(error, StorageError) and not isinstance(error, ConflictError | NotFoundError)


def is_store_outage(_task: object, _run: object, state: Any) -> bool:
    """Tell whether a run by a worker failed for its store, which may come back.

    A person at a command sees the error at once, and decides.
    """
    return is_deployed() and is_storage_fault(None, None, state)


def is_outage(_task: object, _run: object, state: Any) -> bool:
    """Tell whether a run by a worker failed for a network or for its store."""
    error = _error_of(state)
    broken = isinstance(error, IntegrityError) and not isinstance(error, DamagedError)
    passing = broken or isinstance(error, Unavailable) or is_storage_fault(None, None, state)
    return is_deployed() and passing


def _error_of(state: Any) -> object:
    data = getattr(state, "data", None)
    return getattr(data, "exception", data)
