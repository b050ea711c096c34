"""The task that brings a data set's files into the store."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

import sources
from sources import DataSet, RawSet
from storage import open_store
from tasks.progress import advance, bar, move, note, settle
from tasks.retries import is_outage


@task(
    task_run_name="acquire {dataset.name}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=exponential_backoff(60),
    retry_condition_fn=is_outage,
)
def acquire(
    dataset: DataSet, store_url: str, allow_partial: bool = False, anew: bool = False
) -> RawSet:
    """Acquire a data set; see ``sources.ingest``."""
    fetching, reading = f"{dataset.name}: fetch", f"{dataset.name}: check source"
    files = f"{dataset.name}: acquire"
    with (
        bar(fetching, unit="bytes"),
        bar(reading, unit="bytes", later=True),
        bar(files, dataset.pictures, "files", later=True),
    ):
        raw = sources.acquire(
            dataset,
            open_store(store_url),
            allow_partial,
            anew,
            on_fetch=lambda done, total: move(fetching, done, total),
            on_wait=lambda reason: note(fetching, reason),
            on_bytes=lambda count: advance(reading, count),
            on_files=lambda count: advance(files, count),
        )
        settle(files)
    get_run_logger().info(
        "%s: %d files in %d shards, %d rejected %s",
        dataset.name,
        raw.files,
        raw.shards,
        sum(raw.rejected.values()),
        raw.rejected or "",
    )
    for warning in raw.warnings:
        get_run_logger().warning("%s: %s", dataset.name, warning)
    return raw
