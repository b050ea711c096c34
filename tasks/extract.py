"""The task that extracts the pairs of one raw shard."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import tee
from typing import BinaryIO

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

from config.errors import CorruptObjectError, IntegrityError, NotFoundError
from sources import delete_corrupt_shard
from storage import ObjectStore, keys, open_store
from storage.manifest import ManifestRow, load_rows, rows_from_parquet, rows_to_parquet
from storage.shards import ShardWriter
from storage.temporary_files import temporary_file
from tasks.bounded_map import bounded_map
from tasks.cpu_budget import get_cpu_budget
from tasks.detector import get_plan_detector
from tasks.interrupts import raise_if_interrupted
from tasks.make_pairs import accept_published_pair, assemble_pair, prepare_pair
from tasks.pair_set_plan import PairSetPlan
from tasks.progress import advance
from tasks.retries import is_storage_error

# A row of the raw index and the content of its file. The content of a rejected row is None.
_RowContent = tuple[ManifestRow, bytes | None]

# Descriptions of the HED engines that this process has already logged.
_logged_engines: set[str] = set()


@task(
    task_run_name="extract {plan.dataset.name} {shard:05d}",
    # The store records which shards are done; Prefect's cache is not needed.
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=exponential_backoff(5),
    retry_condition_fn=is_storage_error,
)
def extract(plan: PairSetPlan, shard: int, store_url: str) -> None:
    """Extract the pairs of one shard unless they exist; see `extract_shard`.

    Prefect retries the task after store errors.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    shard : int
        Number of the raw shard.
    store_url : str
        URL of the store.

    Raises
    ------
    CorruptObjectError
        If the raw shard is corrupt or missing.
    InputError
        If this machine's HED weights differ from the weights of the plan.
    IntegrityError
        If a local copy of the raw shard is corrupt.
    StorageError
        If the store is unavailable.
    """
    if plan.dataset.needs_edges:
        _log_engine_once(get_plan_detector(plan).engine.description)
    rows = extract_shard(plan, shard, open_store(store_url))
    pairs = sum(row.status == "pair" for row in rows)
    get_run_logger().info(
        "%s %05d: %d pairs, %d rejected",
        plan.dataset.name,
        shard,
        pairs,
        len(rows) - pairs,
    )


def _log_engine_once(engine: str) -> None:
    """Log the HED engine once per process, not once per shard."""
    if engine not in _logged_engines:
        _logged_engines.add(engine)
        get_run_logger().info("HED runs in %s", engine)


def extract_shard(plan: PairSetPlan, shard: int, store: ObjectStore) -> list[ManifestRow]:
    """Write the pairs of one raw shard, and then their rows.

    Published pairs that are used unchanged stay in the raw shard, and their rows refer to it.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    shard : int
        Number of the raw shard.
    store : ObjectStore
        Store that contains the raw set. The pairs are written to the same store.

    Returns
    -------
    list of ManifestRow
        Rows of the shard, each a pair or rejected. The stored rows if the shard is already
        extracted.

    Raises
    ------
    CorruptObjectError
        If the raw shard is corrupt or missing. The shard is deleted, so the next run acquires it
        again.
    IntegrityError
        If a local copy of the raw shard is corrupt.
    """
    part_key = f"{plan.folder}/{keys.part_name(shard)}"
    existing = load_rows(store, part_key)
    if existing is not None:
        return existing
    process = _write_pairs if plan.dataset.needs_edges else _accept_published_pairs
    try:
        raw_rows = rows_from_parquet(store.get(f"{plan.raw_folder}/{keys.part_name(shard)}"))
        with (
            store.local_copy(f"{plan.raw_folder}/{keys.shard_name(shard)}") as shard_path,
            shard_path.open("rb") as file,
        ):
            rows = process(plan, shard, ((row, _read_file(row, file)) for row in raw_rows), store)
    except (CorruptObjectError, NotFoundError) as error:
        if delete_corrupt_shard(store, plan.dataset.name, plan.raw_fingerprint, shard):
            raise CorruptObjectError(str(error)) from error
        raise IntegrityError(f"A local copy is corrupt: {error}") from error
    store.put(part_key, rows_to_parquet(rows))
    return rows


def _accept_published_pairs(
    plan: PairSetPlan, _shard: int, contents: Iterator[_RowContent], _store: ObjectStore
) -> list[ManifestRow]:
    rows, num_threads = [], get_cpu_budget()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="pairs") as pool:
        for row in bounded_map(
            pool, lambda item: accept_published_pair(plan, *item), contents, 2 * num_threads
        ):
            rows.append(row)
            advance(plan.bar_name)
    return rows


def _write_pairs(
    plan: PairSetPlan, shard: int, contents: Iterator[_RowContent], store: ObjectStore
) -> list[ManifestRow]:
    rows = []
    with temporary_file() as train_file, temporary_file() as val_file:
        files = {"train": train_file, "val": val_file}
        with ShardWriter(train_file) as train, ShardWriter(val_file) as val:
            writers = {"train": train, "val": val}
            for row, pair in _generate_pairs(plan, contents):
                if pair is not None and row.split is not None:
                    row.offset = writers[row.split].add(f"{row.id}.png", pair)
                    row.size, row.status = len(pair), "pair"
                rows.append(row)
                advance(plan.bar_name)
        for split, path in files.items():
            if writers[split].num_members:
                store.put_file(f"{plan.folder}/{keys.shard_name(shard, split)}", path)
    return rows


def _generate_pairs(
    plan: PairSetPlan, contents: Iterable[_RowContent]
) -> Iterator[tuple[ManifestRow, bytes | None]]:
    """Yield each row with its pair, in order. The pair of a rejected row is None.

    Threads decode the next inputs of the network and clean its outputs, so the network is always
    busy. The number of pictures in each step is bounded.
    """
    hed, num_threads = get_plan_detector(plan), get_cpu_budget()
    # The network consumes a whole batch at once.
    max_pending = 2 * num_threads + hed.engine.batch_size
    with ThreadPoolExecutor(num_threads, thread_name_prefix="pairs") as pool:
        drafts = bounded_map(pool, lambda item: prepare_pair(plan, *item), contents, max_pending)
        drafts, drafts_for_hed = tee(drafts)
        edges = hed.stream(draft.hed_input for draft in drafts_for_hed)
        pairs = bounded_map(
            pool,
            lambda item: (item[0].row, assemble_pair(plan, *item)),
            # The drafts are exhausted first. A strict zip would then request one more edge map.
            zip(drafts, edges, strict=False),
            max_pending,
        )
        yield from pairs


def _read_file(row: ManifestRow, file: BinaryIO) -> bytes | None:
    raise_if_interrupted()
    if row.status != "accepted" or row.offset is None or row.size is None:
        return None
    file.seek(row.offset)
    return file.read(row.size)
