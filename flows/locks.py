"""One run at a time for a data set: a second one waits, or is refused."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.logging import get_run_logger

from config.errors import ConflictError
from config.settings import get_settings
from tasks.deployments import is_deployed

# Seconds after which the slot of a run that was killed is free again; a run renews it earlier.
_LEASE_DURATION_S = 90

_held_limits: set[str] = set()


@contextmanager
def dataset_lock(kind: str, dataset: str) -> Iterator[None]:
    """Hold the slot of a data set for the time of the block.

    The slot is one of Prefect's global concurrency limits, ``pairs-panda`` for example, made on
    first use. Only runs of a worker take one: an embedded server could not give back the slot of a
    command that was killed, and two runs at once lose time, but no data.

    Parameters
    ----------
    what : kind of work: ``pairs``, ``train`` or ``promote``.
    dataset : its name.

    Raises
    ------
    ConflictError
        If another run holds it and ``ICANVAS_WHEN_BUSY`` is ``refuse``.
    """
    name = f"{kind}-{dataset}"
    # A flow that calls another holds the slot already.
    if not is_deployed() or name in _held_limits:
        yield
        return
    _ensure_limit(name)
    with ExitStack() as stack:
        try:
            stack.enter_context(_acquire_slot(name, max_retries=0))
        except ConcurrencySlotAcquisitionError as error:
            if not _is_taken(error):
                raise
            message = f"Another run is at work on {dataset} (concurrency limit {name!r})"
            if get_settings().when_busy == "refuse":
                raise ConflictError(f"{message}. Start this one again when it has ended.") from None
            get_run_logger().info("%s; this one waits for it.", message)
            stack.enter_context(_acquire_slot(name))
        _held_limits.add(name)
        stack.callback(_held_limits.discard, name)
        yield


def _ensure_limit(name: str) -> None:
    """Make the limit where it is not there; one that an operator has changed stays so."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            # Two first runs may make it at the same time.
            with suppress(ObjectAlreadyExists):
                client.create_global_concurrency_limit(
                    GlobalConcurrencyLimitCreate(name=name, limit=1)
                )


def _is_taken(error: ConcurrencySlotAcquisitionError) -> bool:
    cause = error.__cause__
    return isinstance(cause, httpx.HTTPStatusError) and cause.response.status_code == 423


def _acquire_slot(name: str, max_retries: int | None = None) -> AbstractContextManager[None]:
    return concurrency(
        name,
        max_retries=max_retries,
        lease_duration=_LEASE_DURATION_S,
        strict=True,
        # Work of hours does not end because the server was away for a minute.
        raise_on_lease_renewal_failure=False,
    )
