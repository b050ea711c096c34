"""The task that acquires a data set, i.e. stores its source files in raw shards."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

import sources
from sources import DatasetConfig, RawSet
from storage import open_store
from tasks.progress import advance, complete_bar, progress_bar, set_progress, set_status
from tasks.retries import is_transient_error_in_worker


@task(
    task_run_name="acquire {dataset.name}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=exponential_backoff(60),
    retry_condition_fn=is_transient_error_in_worker,
)
def acquire(
    dataset: DatasetConfig, store_url: str, allow_partial: bool = False, update: bool = False
) -> RawSet:
    """Acquire a data set and show the progress; see ``sources.acquire``.

    Prefect retries the task after network and store errors, but only in deployed runs.

    Parameters
    ----------
    dataset : DatasetConfig
        Data set to acquire.
    store_url : str
        URL of the store.
    allow_partial : bool, default False
        Accept fewer pictures than the catalogue expects.
    update : bool, default False
        Acquire the current version of the source, even if another version is already stored.

    Returns
    -------
    RawSet
        Fingerprint, counts and warnings of the raw set.

    Raises
    ------
    InputError
        If the selection names a column or value that the tables of the source lack.
    SourceError
        If the source is missing, unreadable or refuses access, if no file matches the selection,
        or if the source has fewer pictures than expected.
    IntegrityError
        If a transfer was interrupted, an archive is corrupt, or a file changed during reading.
    StorageError
        If the store or the cache is not writable.
    """
    fetch_bar, check_bar = f"{dataset.name}: fetch", f"{dataset.name}: check source"
    files_bar = f"{dataset.name}: acquire"
    with (
        progress_bar(fetch_bar, unit="bytes"),
        progress_bar(check_bar, unit="bytes", deferred=True),
        progress_bar(files_bar, dataset.num_files, "files", deferred=True),
    ):
        raw = sources.acquire(
            dataset,
            open_store(store_url),
            allow_partial,
            update,
            on_fetch=lambda done, total: set_progress(fetch_bar, done, total),
            on_wait=lambda reason: set_status(fetch_bar, reason),
            on_bytes=lambda count: advance(check_bar, count),
            on_files=lambda count: advance(files_bar, count),
        )
        complete_bar(files_bar)
    get_run_logger().info(
        "%s: %d files in %d shards, %d rejected %s",
        dataset.name,
        raw.num_files,
        raw.num_shards,
        sum(raw.rejected.values()),
        raw.rejected or "",
    )
    for warning in raw.warnings:
        get_run_logger().warning("%s: %s", dataset.name, warning)
    return raw
