"""From a source of pictures to a published set of training pairs."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger

import sources
from config.errors import DamagedError, StorageError
from config.settings import get_settings, override_settings
from flows.locks import one_at_a_time
from flows.parameters import DEFAULT, Accept, DataSetName, Engine, Newest, Partial, Refresh, Why
from flows.run_names import run_name
from flows.runners import open_runner, runs_here
from sources import Choices, DataSet, RawSet
from storage import keys, open_store
from storage.pair_sets import is_published, newest_revision, read_current
from storage.pins import claim
from tasks.acquire import acquire
from tasks.detector import load, weights_name
from tasks.drawing_side import find_drawings
from tasks.extract import extract
from tasks.interrupts import heed_termination
from tasks.pair_set_plan import PairPlan
from tasks.progress import advance, bar
from tasks.publish import PairSet, publish
from tasks.verify import forget_cut_shards

# Shards that the runner knows of at once: enough for every worker there is, while the memory that
# they take (docs/scale.md) does not grow with the data set.
_SUBMITTED = 1000

AS_LISTED = Choices()


@flow(name="prepare", flow_run_name=run_name)
def prepare(
    source: DataSetName,
    choices: Choices = AS_LISTED,
    refresh: Refresh = False,
    accept_license: Accept = False,
    allow_partial: Partial = False,
    newest: Newest = False,
    engine: Engine = DEFAULT,
    reason: Why = "",
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
    dataset = sources.find(source, choices)
    store_url = get_settings().store
    store = open_store(store_url)
    sources.check_licence(dataset, store, accept_license)
    # Refuses another folder of the same name.
    sources.read_current_of(store, dataset)
    with one_at_a_time("pairs", dataset.name):

        def get_raw() -> RawSet:
            return acquire(dataset, store_url, allow_partial, newest)

        return twice(lambda: make_pairs(dataset, store_url, refresh, get_raw))


def twice(make: Callable[[], PairSet]) -> PairSet:
    """Make pairs, and once again where something in the store turned out to be damaged."""
    try:
        return make()
    except DamagedError as error:
        # What was damaged counts as not done now, and is all that is done again.
        get_run_logger().warning("%s Making it anew.", error)
        return make()


def make_pairs(
    dataset: DataSet,
    store_url: str,
    refresh: bool,
    get_raw: Callable[[], RawSet],
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
    DamagedError
        If something in the store was damaged; the next call makes it anew.
    """
    store = open_store(store_url)
    # What is in use now: whoever chooses something else meanwhile must not be overruled unasked.
    before = read_current(store, dataset.name)
    raw = get_raw()
    plan = plan_pairs(dataset, raw, store_url, refresh)
    claim(store, dataset.name, plan.fingerprint, plan.settings)
    if not is_published(store, dataset.name, plan.fingerprint) or forget_cut_shards(plan, store):
        extract_shards(plan, raw, store_url)
    return publish(plan, raw, store_url, before, use)


def plan_pairs(dataset: DataSet, raw: RawSet, store_url: str, refresh: bool) -> PairPlan:
    """Return what determines the pair set: its newest revision, or the next one on refresh."""
    threshold, weights = None, None
    if dataset.needs_edges:
        # No more than the weights: the engine may be there on the workers only.
        with bar("load HED"):
            found = load(get_settings().weights)
        weights, threshold = weights_name(found), found.threshold_or(dataset.edges.threshold)
    store = open_store(store_url)
    drawing = find_drawings(raw, store) if dataset.paired else "left"
    plan = PairPlan(dataset, raw.fingerprint, threshold, weights, drawing=drawing)
    newest = newest_revision(store, dataset.name, plan.settings)
    if newest is None:
        return plan
    return replace(plan, revision=newest + 1 if refresh else newest)


def extract_shards(plan: PairPlan, raw: RawSet, store_url: str) -> None:
    """Extract every shard that is not there yet; all end before one's error.

    Only where the store fails one for good, those that wait are not begun: each would fail anew,
    after minutes of patience.
    """
    # One listing, where asking for each shard would be a request each.
    there = set(open_store(store_url).list(f"{plan.folder}/parts"))
    todo = [
        shard
        for shard in range(raw.shards)
        if f"{plan.folder}/{keys.part_name(shard)}" not in there
    ]
    if not todo:
        return
    # Every shard but the last is full.
    size = plan.dataset.shard_size
    files = {shard: min(size, raw.files - shard * size) for shard in todo}
    failed: list[PrefectFuture[Any]] = []
    waiting: deque[tuple[int, PrefectFuture[Any]]] = deque()

    def wait_for_first() -> None:
        # In their order, in which they begin, too. Prefect's as_completed was seen to wait for ever
        # on futures that had ended.
        shard, future = waiting.popleft()
        result = future.result(raise_on_failure=False)
        if isinstance(result, StorageError):
            # The runner cancels what waits when it is left with an error.
            future.result()
        elif isinstance(result, BaseException):
            failed.append(future)
        elif not runs_here():
            advance(plan.bar, files[shard])

    done = raw.files - sum(files.values())
    with (
        bar(plan.bar, raw.files, "pictures", done=done),
        open_runner() as runner,
        # Within the runner, whose end waits for the shards in progress.
        heed_termination(),
    ):
        for shard in todo:
            parameters = {"plan": plan, "shard": shard, "store_url": store_url}
            waiting.append((shard, runner.submit(extract, parameters)))
            if len(waiting) == _SUBMITTED:
                wait_for_first()
        while waiting:
            wait_for_first()
    if failed:
        failed[0].result()
