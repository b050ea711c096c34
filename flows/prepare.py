"""The flow that makes a published pair set from a source of pictures."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger

import sources
from config.errors import CorruptObjectError, StorageError
from config.settings import get_settings, override_settings
from flows.locks import dataset_lock
from flows.parameters import (
    DEFAULT,
    AcceptLicense,
    AllowPartial,
    DatasetName,
    EngineName,
    Force,
    Reason,
    Update,
)
from flows.run_names import format_run_name
from flows.runners import open_runner, runs_in_process
from sources import DatasetConfig, PrepareOptions, RawSet
from storage import keys, open_store
from storage.pair_sets import is_published, latest_revision, read_current
from storage.pins import pin
from tasks.acquire import acquire
from tasks.detector import format_weights_id, load_cached_weights
from tasks.drawing_side import detect_drawing_side
from tasks.extract import extract
from tasks.interrupts import handle_sigterm
from tasks.pair_set_plan import PairSetPlan
from tasks.progress import advance, progress_bar
from tasks.publish import PairSet, publish
from tasks.verify import invalidate_truncated_shards

# Shards that are submitted at once: enough for all workers, while memory (docs/scale.md) does not
# grow with the data set.
_MAX_PENDING_SHARDS = 1000

DEFAULT_OPTIONS = PrepareOptions()


@flow(name="prepare", flow_run_name=format_run_name)
def prepare(
    source: DatasetName,
    options: PrepareOptions = DEFAULT_OPTIONS,
    force: Force = False,
    accept_license: AcceptLicense = False,
    allow_partial: AllowPartial = False,
    update: Update = False,
    engine: EngineName = DEFAULT,
    reason: Reason = "",
) -> PairSet:
    """Acquire pictures, extract their edges, and publish the pairs.

    Work whose results are in the store is not repeated.

    Parameters
    ----------
    source : str
        Name of a data set of the catalogue, or path of a folder or archive.
    options : PrepareOptions
        Changes to the entry of the catalogue.
    force : bool
        Extract everything again, as a new pair set beside the old one.
    accept_license : bool
        Accept the license of the data set, if it requires that; once is enough.
    allow_partial : bool
        Continue if the source holds fewer pictures than expected.
    update : bool
        Acquire what the source holds now, even if it was acquired before.
    engine : str
        HED engine; ``default`` for that of the settings.
    reason : str
        Shown in the name of the flow run.

    Returns
    -------
    PairSet
    """
    override_settings(engine=None if engine == DEFAULT else engine)
    dataset = sources.find_dataset(source, options)
    store_url = get_settings().store
    store = open_store(store_url)
    sources.check_license(dataset, store, accept_license)
    # Raises if another folder was prepared under the same name.
    sources.read_current_pairs(store, dataset)
    with dataset_lock("pairs", dataset.name):

        def load_raw() -> RawSet:
            return acquire(dataset, store_url, allow_partial, update)

        return retry_if_corrupt(lambda: build_pair_set(dataset, store_url, force, load_raw))


def retry_if_corrupt(build: Callable[[], PairSet]) -> PairSet:
    """Call `build`, and call it once more if it finds a corrupt object in the store.

    Parameters
    ----------
    build : callable
        Builds the pair set, and marks what is corrupt as not done before it raises.

    Returns
    -------
    PairSet
    """
    try:
        return build()
    except CorruptObjectError as error:
        # Corrupt objects are marked as not done; only those are done again.
        get_run_logger().warning("%s Retrying once.", error)
        return build()


def build_pair_set(
    dataset: DatasetConfig,
    store_url: str,
    force: bool,
    load_raw: Callable[[], RawSet],
    use: bool = True,
) -> PairSet:
    """Acquire, extract and publish.

    Parameters
    ----------
    dataset : DatasetConfig
        Data set, with its options.
    store_url : str
        URL of the store.
    force : bool
        Make a new revision of an existing pair set.
    load_raw : callable
        Returns the raw set; acquires it if needed.
    use : bool
        Put the pair set into use.

    Returns
    -------
    PairSet

    Raises
    ------
    CorruptObjectError
        If an object in the store is corrupt. The next call replaces it.
    """
    store = open_store(store_url)
    # Read first: publishing must not overwrite a choice that is made meanwhile.
    previous = read_current(store, dataset.name)
    raw = load_raw()
    plan = plan_pair_set(dataset, raw, store_url, force)
    pin(store, dataset.name, plan.fingerprint, plan.settings)
    if not is_published(store, dataset.name, plan.fingerprint) or invalidate_truncated_shards(
        plan, store
    ):
        extract_shards(plan, raw, store_url)
    return publish(plan, raw, store_url, previous, use)


def plan_pair_set(dataset: DatasetConfig, raw: RawSet, store_url: str, force: bool) -> PairSetPlan:
    """Return the plan of a pair set.

    Parameters
    ----------
    dataset : DatasetConfig
        Data set, with its options.
    raw : RawSet
        Its raw set.
    store_url : str
        URL of the store.
    force : bool
        Plan the next revision instead of the latest one.

    Returns
    -------
    PairSetPlan
    """
    threshold, weights = None, None
    if dataset.needs_edges:
        # Only the weights: the engine may be installed on the workers only.
        with progress_bar("load HED"):
            hed_weights = load_cached_weights(get_settings().weights)
        weights, threshold = (
            format_weights_id(hed_weights),
            hed_weights.resolve_threshold(dataset.edges.threshold),
        )
    store = open_store(store_url)
    drawing_side = detect_drawing_side(raw, store) if dataset.paired else "left"
    plan = PairSetPlan(dataset, raw.fingerprint, threshold, weights, drawing_side=drawing_side)
    latest = latest_revision(store, dataset.name, plan.settings)
    if latest is None:
        return plan
    return replace(plan, revision=latest + 1 if force else latest)


def extract_shards(plan: PairSetPlan, raw: RawSet, store_url: str) -> None:
    """Extract all shards that are not extracted yet.

    A shard that fails does not stop the others; its error is raised at the end. Only after a
    storage error the queued shards are canceled: each would fail as well, after minutes of retries.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    raw : RawSet
        Its raw set.
    store_url : str
        URL of the store.
    """
    # One listing instead of a request per shard.
    existing = set(open_store(store_url).list_keys(f"{plan.folder}/parts"))
    missing = [
        shard
        for shard in range(raw.num_shards)
        if f"{plan.folder}/{keys.part_name(shard)}" not in existing
    ]
    if not missing:
        return
    # All shards but the last are full.
    size = plan.dataset.shard_size
    num_files = {shard: min(size, raw.num_files - shard * size) for shard in missing}
    failed: list[PrefectFuture[Any]] = []
    pending: deque[tuple[int, PrefectFuture[Any]]] = deque()

    def wait_for_first() -> None:
        # In the order of submission. Prefect's as_completed has been seen to wait forever on
        # futures that had ended.
        shard, future = pending.popleft()
        result = future.result(raise_on_failure=False)
        if isinstance(result, StorageError):
            # Raises; the runner cancels queued shards when an error leaves its block.
            future.result()
        elif isinstance(result, BaseException):
            failed.append(future)
        elif not runs_in_process():
            advance(plan.bar_name, num_files[shard])

    num_done = raw.num_files - sum(num_files.values())
    with (
        progress_bar(plan.bar_name, raw.num_files, "pictures", done=num_done),
        open_runner() as runner,
        # Inside the runner, because leaving the runner waits for the shards in progress.
        handle_sigterm(),
    ):
        for shard in missing:
            parameters = {"plan": plan, "shard": shard, "store_url": store_url}
            pending.append((shard, runner.submit(extract, parameters)))
            if len(pending) == _MAX_PENDING_SHARDS:
                wait_for_first()
        while pending:
            wait_for_first()
    if failed:
        failed[0].result()
