"""Locks for data sets: a second run of the same kind waits or is refused."""

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

# After this time the slot of a killed run is free. Live runs renew their lease before.
_LEASE_DURATION_S = 90

_held_limits: set[str] = set()


@contextmanager
def dataset_lock(kind: str, dataset: str) -> Iterator[None]:
    """Hold the lock of a data set during the block.

    The lock is a slot of a Prefect global concurrency limit, for example ``pairs-panda``, which is
    created on first use. Only runs that a worker started take it: an embedded server could not
    release the slot of a command that was killed. Concurrent commands lose time but no data.

    Parameters
    ----------
    kind : {'pairs', 'train', 'promote'}
        Kind of work.
    dataset : str
        Name of the data set.

    Raises
    ------
    ConflictError
        If another run holds the lock and ``ICANVAS_WHEN_BUSY`` is ``refuse``.
    """
    name = f"{kind}-{dataset}"
    # A flow that was called by another flow of the same run.
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
                raise ConflictError(
                    f"{message}. Start this run again when that has ended."
                ) from None
            get_run_logger().info("%s; waiting for it to end", message)
            stack.enter_context(_acquire_slot(name))
        _held_limits.add(name)
        stack.callback(_held_limits.discard, name)
        yield


def _ensure_limit(name: str) -> None:
    """Create the concurrency limit if it does not exist. An existing one is left unchanged."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            # Two runs may create it at the same time.
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
        # A server that is down for a minute must not stop hours of work.
        raise_on_lease_renewal_failure=False,
    )
