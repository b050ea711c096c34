"""The task that checks whether the source of a data set has changed."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

import sources
from sources import DatasetConfig, UpdateStatus
from storage import open_store


@task(task_run_name="check {dataset.name}", cache_policy=NO_CACHE)
def check_update(dataset: DatasetConfig, store_url: str) -> UpdateStatus | None:
    """Compare a source with its acquired version; see ``sources.check_for_update``.

    Parameters
    ----------
    dataset : DatasetConfig
        Data set to check.
    store_url : str
        URL of the store that contains the acquired version.

    Returns
    -------
    UpdateStatus or None
        Result of the check; None if the data set was never acquired.

    Raises
    ------
    SourceError
        If a local folder or archive is missing.
    """
    status = sources.check_for_update(dataset, open_store(store_url))
    if status is not None:
        get_run_logger().info("%s: %s (%s)", dataset.name, status.state, status.message)
    return status
