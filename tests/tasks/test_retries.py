import pytest
from prefect.client.schemas.objects import State
from prefect.states import Failed

from config.errors import (
    ConflictError,
    CorruptObjectError,
    IcanvasError,
    InputError,
    IntegrityError,
    NotFoundError,
    SourceError,
    StorageError,
)
from sources.fetch.host_api import HostUnavailable
from tasks.retries import is_storage_error, is_transient_error_in_worker


@pytest.mark.parametrize(
    ("error", "storage", "outage"),
    [
        (StorageError("unreachable"), True, True),
        (ConflictError("moved"), False, False),
        (NotFoundError("gone"), False, False),
        (IntegrityError("truncated"), False, True),
        (CorruptObjectError("corrupt"), False, False),
        (HostUnavailable("busy"), False, True),
        (SourceError("rejected"), False, False),
        (InputError("bad setting"), False, False),
        (IcanvasError("any"), False, False),
        (ValueError("bug"), False, False),
    ],
)
def test_transient_errors_are_retried(
    error: Exception, storage: bool, outage: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: State[object] = Failed(data=error)
    assert is_storage_error(None, None, failed) == storage
    assert not is_transient_error_in_worker(None, None, failed), "commands do not retry"
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "0")
    assert is_transient_error_in_worker(None, None, failed) == outage
