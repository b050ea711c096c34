"""The task that brings a data set's files into the store."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

import datasets
from datasets import DataSet, RawSet
from storage import open_store
from tasks.progress import advance, bar


@task(task_run_name="acquire {dataset.name}", cache_policy=NO_CACHE)
def acquire(dataset: DataSet, store_url: str) -> RawSet:
    """Acquire a data set; see ``datasets.acquire``."""
    reading, files = f"{dataset.name}: check source", f"{dataset.name}: acquire"
    with bar(reading, unit="bytes"), bar(files, dataset.expected, "files"):
        raw = datasets.acquire(
            dataset,
            open_store(store_url),
            on_bytes=lambda count: advance(reading, count),
            on_files=lambda count: advance(files, count),
        )
    get_run_logger().info(
        "%s: %d files in %d shards, %d rejected %s",
        dataset.name,
        raw.files,
        raw.shards,
        sum(raw.rejected.values()),
        raw.rejected or "",
    )
    return raw
