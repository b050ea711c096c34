import pytest
from prefect.client.schemas.objects import State
from prefect.states import Failed

from config.errors import (
    ConflictError,
    DamagedError,
    IcanvasError,
    InputError,
    IntegrityError,
    NotFoundError,
    SourceError,
    StorageError,
)
from sources.fetch.host_api import Unavailable
from tasks.retries import is_outage, is_storage_fault


@pytest.mark.parametrize(
    ("error", "storage", "outage"),
    [
        (StorageError("away"), True, True),
        (ConflictError("moved"), False, False),
        (NotFoundError("gone"), False, False),
        (IntegrityError("cut"), False, True),
        (DamagedError("spoiled"), False, False),
        (Unavailable("busy"), False, True),
        (SourceError("refused"), False, False),
        (InputError("bad setting"), False, False),
        (IcanvasError("any"), False, False),
        (ValueError("a slip of ours"), False, False),
    ],
)
def test_what_may_come_back_is_tried_again(
    error: Exception, storage: bool, outage: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: State[object] = Failed(data=error)
    assert is_storage_fault(None, None, failed) == storage
    assert not is_outage(None, None, failed), "a person at a command waits"
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "0")
    assert is_outage(None, None, failed) == outage
