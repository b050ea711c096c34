"""Conditions for Prefect's ``retry_condition_fn``: errors for which a retry may succeed."""

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
    """Return whether a task failed because the store was unavailable.

    A retry cannot repair invalid settings, corrupt bytes, missing objects or conflicts.

    Parameters
    ----------
    _task : object
        Task; not used.
    _run : object
        Task run; not used.
    state : State
        Final state of the task run. Its data is the error.

    Returns
    -------
    bool
        Whether to retry the task.
    """
    error = _get_error(state)
    return isinstance(error, StorageError) and not isinstance(error, ConflictError | NotFoundError)


def is_storage_error_in_worker(_task: object, _run: object, state: Any) -> bool:
    """Return whether a task of a deployed run failed because the store was unavailable.

    Commands do not retry, because the user sees the error immediately and can act.

    Parameters
    ----------
    _task : object
        Task; not used.
    _run : object
        Task run; not used.
    state : State
        Final state of the task run. Its data is the error.

    Returns
    -------
    bool
        Whether to retry the task.
    """
    return is_deployed() and is_storage_error(None, None, state)


def is_transient_error_in_worker(_task: object, _run: object, state: Any) -> bool:
    """Return whether a task of a deployed run failed because of the network or the store.

    Parameters
    ----------
    _task : object
        Task; not used.
    _run : object
        Task run; not used.
    state : State
        Final state of the task run. Its data is the error.

    Returns
    -------
    bool
        Whether to retry the task.
    """
    error = _get_error(state)
    interrupted = isinstance(error, IntegrityError) and not isinstance(error, CorruptObjectError)
    unavailable = isinstance(error, HostUnavailable) or is_storage_error(None, None, state)
    return is_deployed() and (interrupted or unavailable)


def _get_error(state: Any) -> object:
    data = getattr(state, "data", None)
    return getattr(data, "exception", data)
