"""From a source of pictures to a published set of training pairs."""

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
from sources import PrepareOptions, DatasetConfig, RawSet
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

# Shards that the runner knows of at once: enough for every worker there is, while the memory that
# they take (docs/scale.md) does not grow with the data set.
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

    What is in the store already is not done again.

    Parameters
    ----------
    source : a data set of the catalogue, or the path of a folder or archive.
    choices : what is to be other than the catalogue says.
    refresh : extract everything again, as a new pair set beside the old.
    accept_license : accept the data set's licence, where it asks for that; once is enough.
    allow_partial : go on where the source holds fewer pictures than expected.
    newest : acquire what the source holds now, though it was acquired before.
    engine : what runs HED, in place of the setting.
    reason : for the run's name; nothing else.
    """
    override_settings(engine=None if engine == DEFAULT else engine)
    dataset = sources.find_dataset(source, options)
    store_url = get_settings().store
    store = open_store(store_url)
    sources.check_license(dataset, store, accept_license)
    # Refuses another folder of the same name.
    sources.read_current_pairs_of(store, dataset)
    with dataset_lock("pairs", dataset.name):

        def load_raw() -> RawSet:
            return acquire(dataset, store_url, allow_partial, update)

        return retry_if_corrupt(lambda: build_pair_set(dataset, store_url, force, load_raw))


def retry_if_corrupt(build: Callable[[], PairSet]) -> PairSet:
    """Make pairs, and once again where something in the store turned out to be damaged."""
    try:
        return build()
    except CorruptObjectError as error:
        # What was damaged counts as not done now, and is all that is done again.
        get_run_logger().warning("%s Making it anew.", error)
        return build()


def build_pair_set(
    dataset: DatasetConfig,
    store_url: str,
    force: bool,
    load_raw: Callable[[], RawSet],
    use: bool = True,
) -> PairSet:
    """Extract and publish.

    Parameters
    ----------
    dataset : which one, and how.
    store_url : where it is.
    refresh : make a new revision of what is there already.
    get_raw : gives the pictures, acquired.
    use : put the pair set into use.

    Raises
    ------
    CorruptObjectError
        If something in the store was damaged; the next call makes it anew.
    """
    store = open_store(store_url)
    # What is in use now: whoever chooses something else meanwhile must not be overruled unasked.
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
    """Return what determines the pair set: its newest revision, or the next one on refresh."""
    threshold, weights = None, None
    if dataset.needs_edges:
        # No more than the weights: the engine may be there on the workers only.
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
    """Extract every shard that is not there yet; all end before one's error.

    Only where the store fails one for good, those that wait are not begun: each would fail anew,
    after minutes of patience.
    """
    # One listing, where asking for each shard would be a request each.
    existing = set(open_store(store_url).list_keys(f"{plan.folder}/parts"))
    missing = [
        shard
        for shard in range(raw.shards)
        if f"{plan.folder}/{keys.part_name(shard)}" not in existing
    ]
    if not missing:
        return
    # Every shard but the last is full.
    size = plan.dataset.shard_size
    num_files = {shard: min(size, raw.files - shard * size) for shard in missing}
    failed: list[PrefectFuture[Any]] = []
    pending: deque[tuple[int, PrefectFuture[Any]]] = deque()

    def wait_for_first() -> None:
        # In their order, in which they begin, too. Prefect's as_completed was seen to wait for ever
        # on futures that had ended.
        shard, future = pending.popleft()
        result = future.result(raise_on_failure=False)
        if isinstance(result, StorageError):
            # The runner cancels what waits when it is left with an error.
            future.result()
        elif isinstance(result, BaseException):
            failed.append(future)
        elif not runs_in_process():
            advance(plan.bar_name, num_files[shard])

    num_done = raw.files - sum(num_files.values())
    with (
        progress_bar(plan.bar_name, raw.files, "pictures", done=num_done),
        open_runner() as runner,
        # Within the runner, whose end waits for the shards in progress.
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
