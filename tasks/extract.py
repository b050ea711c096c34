"""One raw shard to one shard's pairs: pictures in, drawings beside their pictures out."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import tee
from typing import BinaryIO

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

from config.errors import DamagedError, IntegrityError, NotFoundError
from sources import forget_if_damaged
from storage import ObjectStore, keys, open_store
from storage.manifest import Row, load_rows, read_rows, write_rows
from storage.shards import ShardWriter
from storage.temporary_files import scratch_file
from tasks.bounded_map import map_ahead
from tasks.cpu_budget import own_cores
from tasks.detector import detector_for
from tasks.interrupts import stop_if_interrupted
from tasks.make_pairs import draft_pair, finish_pair, take_pair
from tasks.pair_set_plan import PairPlan
from tasks.progress import advance
from tasks.retries import is_storage_fault

# A row of the raw index, and its file's bytes where there are any.
_Content = tuple[Row, bytes | None]

# What runs HED in this process, once it was told.
_told: set[str] = set()


@task(
    task_run_name="extract {plan.dataset.name} {shard:05d}",
    # The store tells what is done, not what Prefect remembers.
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=is_storage_fault,
)
def extract(plan: PairPlan, shard: int, store_url: str) -> None:
    """Make the pairs of one shard, unless they are there; see ``extract_shard``."""
    if plan.dataset.needs_edges:
        _tell(detector_for(plan).engine.title)
    made = extract_shard(plan, shard, open_store(store_url))
    pairs = sum(row.status == "pair" for row in made)
    get_run_logger().info(
        "%s %05d: %d pairs, %d rejected",
        *(plan.dataset.name, shard, pairs, len(made) - pairs),
    )


def _tell(engine: str) -> None:
    """Say once what runs HED, not at every shard."""
    if engine not in _told:
        _told.add(engine)
        get_run_logger().info("HED runs in %s", engine)


def extract_shard(plan: PairPlan, shard: int, store: ObjectStore) -> list[Row]:
    """Make the pairs of one raw shard and write, last of all, their rows.

    Files that are pairs already, and are used as they are, stay in the raw shard; their rows point
    there.

    Parameters
    ----------
    plan : what to make.
    shard : the raw shard's number.
    store : holds the raw set, takes the pairs.

    Returns
    -------
    list of Row
        The shard's rows, each a pair or rejected; where the part was there already, its rows.

    Raises
    ------
    DamagedError
        If the raw shard is damaged or gone; then it counts as not acquired any more.
    """
    part = f"{plan.folder}/{keys.part_name(shard)}"
    kept = load_rows(store, part)
    if kept is not None:
        return kept
    make = _write_pairs if plan.dataset.needs_edges else _take_pairs
    try:
        sources = read_rows(store.get(f"{plan.raw_folder}/{keys.part_name(shard)}"))
        with (
            store.open_local(f"{plan.raw_folder}/{keys.shard_name(shard)}") as raw,
            raw.open("rb") as file,
        ):
            made = make(plan, shard, ((row, _read(row, file)) for row in sources), store)
    except (DamagedError, NotFoundError) as error:
        if forget_if_damaged(store, plan.dataset.name, plan.raw, shard):
            raise DamagedError(str(error)) from error
        raise IntegrityError(f"A local copy is damaged: {error}") from error
    store.put(part, write_rows(made))
    return made


def _take_pairs(
    plan: PairPlan, _shard: int, contents: Iterator[_Content], _store: ObjectStore
) -> list[Row]:
    made, cores = [], own_cores()
    with ThreadPoolExecutor(cores, thread_name_prefix="pairs") as pool:
        for row in map_ahead(pool, lambda item: take_pair(plan, *item), contents, 2 * cores):
            made.append(row)
            advance(plan.bar)
    return made


def _write_pairs(
    plan: PairPlan, shard: int, contents: Iterator[_Content], store: ObjectStore
) -> list[Row]:
    made = []
    with scratch_file() as train_file, scratch_file() as val_file:
        files = {"train": train_file, "val": val_file}
        with ShardWriter(train_file) as train, ShardWriter(val_file) as val:
            writers = {"train": train, "val": val}
            for row, pair in _make_pairs(plan, contents):
                if pair is not None and row.split is not None:
                    row.offset = writers[row.split].add(f"{row.id}.png", pair)
                    row.size, row.status = len(pair), "pair"
                made.append(row)
                advance(plan.bar)
        for split, scratch in files.items():
            if writers[split].members:
                store.put_file(f"{plan.folder}/{keys.shard_name(shard, split)}", scratch)
    return made


def _make_pairs(plan: PairPlan, contents: Iterable[_Content]) -> Iterator[tuple[Row, bytes | None]]:
    """Yield each row, in order, with its pair.

    Threads decode what the network sees next and clean what it has seen, so that it never waits;
    every step holds a few pictures, however many there are.
    """
    hed, cores = detector_for(plan), own_cores()
    # A whole batch must be ready when the network takes one.
    ahead = 2 * cores + hed.engine.batch
    with ThreadPoolExecutor(cores, thread_name_prefix="pairs") as pool:
        drafts = map_ahead(pool, lambda item: draft_pair(plan, *item), contents, ahead)
        drafts, seen = tee(drafts)
        edges = hed.stream(draft.source for draft in seen)
        finished = map_ahead(
            pool,
            lambda item: (item[0].row, finish_pair(plan, *item)),
            # Drafts end first.
            zip(drafts, edges, strict=False),
            ahead,
        )
        yield from finished


def _read(row: Row, file: BinaryIO) -> bytes | None:
    stop_if_interrupted()
    if row.status != "accepted" or row.offset is None or row.size is None:
        return None
    file.seek(row.offset)
    return file.read(row.size)
