"""The task that looks whether a data set's source has changed."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

import sources
from sources import DataSet, Finding
from storage import open_store


@task(task_run_name="check {dataset.name}", cache_policy=NO_CACHE)
def check(dataset: DataSet, store_url: str) -> Finding | None:
    """Compare a source with what was acquired; see ``datasets.look_for_newer``."""
    found = sources.look_for_newer(dataset, open_store(store_url))
    if found is not None:
        get_run_logger().info("%s: %s (%s)", dataset.name, found.state, found.what)
    return found
