"""Conditions for Prefect's ``retry_condition_fn``: which errors may pass on a retry."""

from typing import Any

from config.errors import (
    ConflictError,
    CorruptObjectError,
    IntegrityError,
    NotFoundError,
    StorageError,
)
from sources.fetch.host_api import HostUnavailable
from tasks.deployments import is_deployed


def is_storage_error(_task: object, _run: object, state: Any) -> bool:
    """Return whether a task failed because its store was unavailable.

    Retries do not help against invalid settings, corrupt bytes, missing objects or conflicts.
    """
    error = _get_error(state)
    return isinstance(error, StorageError) and not isinstance(error, ConflictError | NotFoundError)


def is_storage_error_in_worker(_task: object, _run: object, state: Any) -> bool:
    """Return whether a task failed because its store was unavailable, in a run by a worker.

    At the command line a person sees the error at once and decides.
    """
    return is_deployed() and is_storage_error(None, None, state)


def is_transient_error_in_worker(_task: object, _run: object, state: Any) -> bool:
    """Return whether a task failed because of network or store, in a run by a worker."""
    error = _get_error(state)
    interrupted = isinstance(error, IntegrityError) and not isinstance(error, CorruptObjectError)
    unavailable = isinstance(error, HostUnavailable) or is_storage_error(None, None, state)
    return is_deployed() and (interrupted or unavailable)


def _get_error(state: Any) -> object:
    data = getattr(state, "data", None)
    return getattr(data, "exception", data)
