"""From a source of pictures to a published set of training pairs."""

from dataclasses import replace
from typing import Any, Literal

from prefect import flow
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner

import datasets
from datasets import DataSet, RawSet
from flows.names import run_name
from settings import get_settings
from storage import keys, open_store
from storage.pairsets import is_published
from tasks.acquire import acquire
from tasks.detector import load, weights_name
from tasks.extract import extract
from tasks.plan import PairPlan
from tasks.progress import bar
from tasks.publish import PairSet, publish

# Threads, because all that costs time releases the interpreter's lock. Two, because while one
# shard's last pictures are done and it is stored, the next one's keep the network busy.
_threads = ThreadPoolTaskRunner[Any](max_workers=2)


@flow(
    name="prepare",
    flow_run_name=run_name,
    task_runner=_threads,  # type: ignore[arg-type]  # Prefect's own classes do not fit its hint
)
def prepare(
    source: str,
    name: str | None = None,
    paired: bool = False,
    fit: Literal["cover", "contain", "stretch"] | None = None,
    threshold: float | None = None,
    refresh: bool = False,
) -> PairSet:
    """Acquire pictures, extract their edges, and publish the pairs.

    What is in the store already is not done again.

    Parameters
    ----------
    source : a data set of the catalogue, or the path of a folder or archive.
    name : what to call a folder or archive; made from its file name when left out.
    paired : a folder or archive holds pairs already (drawing left, picture right).
    fit : crop, pad or stretch pictures, in place of the data set's own way.
    threshold : edge probability from which on a pixel can be a line, in place of its own.
    refresh : extract everything again, as a new pair set beside the old.
    """
    dataset = datasets.find(source, name, paired, fit, threshold)
    store_url = get_settings().store
    # Refuses another folder of the same name.
    datasets.read_current_of(open_store(store_url), dataset)
    raw = acquire(dataset, store_url)
    plan = plan_pairs(dataset, raw, store_url, refresh)
    if not is_published(open_store(store_url), dataset.name, plan.fingerprint):
        extract_shards(plan, raw, store_url)
    return publish(plan, raw, store_url)


def plan_pairs(dataset: DataSet, raw: RawSet, store_url: str, refresh: bool) -> PairPlan:
    """Return what determines the pair set: its newest revision, or the next one on refresh."""
    threshold, weights = None, None
    if not dataset.paired:
        # No more than the weights: the engine may be there on the workers only.
        with bar("load HED"):
            found = load(get_settings().weights)
        weights, threshold = weights_name(found), found.threshold_or(dataset.edges.threshold)
    plan = PairPlan(dataset, raw.fingerprint, threshold, weights)
    store = open_store(store_url)
    following = plan
    while is_published(store, dataset.name, following.fingerprint):
        plan, following = following, replace(following, revision=following.revision + 1)
    return following if refresh else plan


def extract_shards(plan: PairPlan, raw: RawSet, store_url: str) -> None:
    """Extract every shard that is not there yet, a few at once; all end before one's error."""
    store = open_store(store_url)
    todo = [
        shard
        for shard in range(raw.shards)
        if not store.exists(f"{plan.folder}/{keys.part_name(shard)}")
    ]
    # Every shard but the last is full.
    size = plan.dataset.shard_size
    left = sum(min(size, raw.files - shard * size) for shard in todo)
    with bar(plan.bar, raw.files, "pictures", done=raw.files - left):
        futures = [extract.submit(plan, shard, store_url) for shard in todo]
        wait(futures)
    for future in futures:
        future.result()
