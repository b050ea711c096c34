"""The task that publishes a pair set: manifest, contact sheet, report and pointer."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

from config.errors import CorruptObjectError
from postprocess import (
    PAIR_SIZE,
    decode_pair,
    encode_jpeg,
    join_pair,
    make_contact_sheet,
    split_pair,
)
from reports.pair_set_diff import PairSetDiff, diff_pair_sets, render_pair_set_diff
from reports.pair_set_report import render_report
from reports.thumbnails import render_thumbnails
from sources import RawSet
from storage import ObjectStore, RejectReason, keys, open_store
from storage.manifest import (
    ManifestRow,
    check_manifest,
    load_rows,
    rows_from_parquet,
    rows_to_parquet,
)
from storage.pair_reader import open_pairs
from storage.pair_sets import CurrentPairs, read_current, swap_current
from storage.pins import ensure_pinned
from storage.raw_sets import read_acceptance, read_origin
from tasks.artifacts import create_pair_set_artifact
from tasks.bounded_map import bounded_map
from tasks.pair_set_plan import PairSetPlan
from tasks.progress import progress_bar
from tasks.retries import is_storage_error_in_worker
from tasks.verify import verify_shards

_NUM_SHEET_PAIRS = 24
_NUM_SHEET_COLUMNS = 3

# Parts are small, so the latency of the store dominates the time to read them.
_MAX_CONCURRENT = 16


@dataclass(frozen=True)
class PairSet:
    """Summary of a published pair set.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set, 12 hex digits.
    train : int
        Number of training pairs.
    val : int
        Number of validation pairs.
    rejected : dict of str to int
        Number of rejected files per reason, in descending order.
    warnings : list of str
        Possible problems and their remedies.
    folder : str
        Location of the pair set.
    contact_sheet : str or None
        Location of the contact sheet; None for a pair set without pairs.
    report : str
        Location of the report.
    diff : str or None
        Location of the page that compares the pair set with the previous one; None without a
        previous pair set.
    """

    dataset: str
    fingerprint: str
    train: int
    val: int
    rejected: dict[str, int]
    warnings: list[str]
    folder: str
    contact_sheet: str | None
    report: str
    diff: str | None = field(default=None, compare=False)


@task(
    task_run_name="publish {plan.dataset.name}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=exponential_backoff(30),
    retry_condition_fn=is_storage_error_in_worker,
)
def publish(
    plan: PairSetPlan,
    raw: RawSet,
    store_url: str,
    previous: CurrentPairs | None,
    use: bool = True,
) -> PairSet:
    """Publish a pair set and create its artifacts; see `publish_pairs`.

    Prefect retries the task after store errors, but only in deployed runs.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    raw : RawSet
        Its raw set.
    store_url : str
        URL of the store.
    previous : CurrentPairs or None
        Pair set that was in use at the start of the run; None without one.
    use : bool, default True
        Whether to put the pair set into use.

    Returns
    -------
    PairSet
        Summary of the pair set.

    Raises
    ------
    ConflictError, CorruptObjectError, IntegrityError
        See `publish_pairs`.
    """
    store = open_store(store_url)
    with progress_bar(f"{plan.dataset.name}: publish"):
        pair_set = publish_pairs(plan, raw, store, previous, use)
    get_run_logger().info(
        "%s: %d train and %d val pairs, %d rejected, pair set %s",
        pair_set.dataset,
        pair_set.train,
        pair_set.val,
        sum(pair_set.rejected.values()),
        pair_set.fingerprint,
    )
    for warning in pair_set.warnings:
        get_run_logger().warning("%s: %s", pair_set.dataset, warning)
    diff = None
    if previous is not None and previous.fingerprint != plan.fingerprint:
        diff = diff_pair_sets(store, pair_set.dataset, previous.fingerprint, pair_set.fingerprint)
    if diff is not None:
        pair_set = replace(pair_set, diff=_save_diff(plan, diff, store))
    counts = {"train": pair_set.train, "val": pair_set.val}
    current = read_current(store, pair_set.dataset)
    in_use = current is not None and current.fingerprint == pair_set.fingerprint
    create_pair_set_artifact(plan, counts, pair_set.rejected, in_use, store, diff)
    return pair_set


def publish_pairs(
    plan: PairSetPlan,
    raw: RawSet,
    store: ObjectStore,
    previous: CurrentPairs | None = None,
    use: bool = True,
) -> PairSet:
    """Merge the parts of a pair set into a manifest, render sheet and report, and set the pointer.

    The manifest is written after all other files and before the pointer, so readers only see
    complete pair sets. If the pair set is already published, only the pointer is set.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    raw : RawSet
        Its raw set.
    store : ObjectStore
        Store that contains the extracted shards.
    previous : CurrentPairs or None, optional
        Pair set that was in use at the start of the run. The pointer is set only if it still refers
        to this pair set.
    use : bool, default True
        Whether to put the pair set into use.

    Returns
    -------
    PairSet
        Summary of the pair set.

    Raises
    ------
    ConflictError
        If another pair set was put into use during the run, or `icanvas gc` is deleting this one.
    IntegrityError
        If rows of the raw index are missing, duplicated or incomplete, or `icanvas gc` has just
        deleted the pair set.
    CorruptObjectError
        If a shard or part is corrupt. The next extraction replaces it.
    """
    name = plan.dataset.name
    # A corrupt manifest is rebuilt from its parts.
    rows = load_rows(store, keys.manifest(name, plan.fingerprint))
    if rows is None:
        rows = _read_parts(plan, raw, store)
        check_manifest(rows, raw.num_files)
        verify_shards(plan, rows, store)
        pairs = [row for row in rows if row.status == "pair"]
        sheet = _render_contact_sheet(plan, pairs, store) if pairs else None
        if sheet is not None:
            store.put(f"{plan.folder}/contact-sheet.jpg", sheet)
        page = render_report(
            plan.dataset,
            plan.fingerprint,
            plan.settings,
            rows,
            sheet,
            render_thumbnails(plan.dataset, plan.raw_folder, rows, store),
            _find_warnings(plan, raw, rows),
            read_origin(store, keys.raw_origin(name, plan.raw_fingerprint)),
            read_acceptance(store, name),
        )
        store.put(f"{plan.folder}/report.html", page.encode())
        store.put(f"{plan.folder}/manifest.parquet", rows_to_parquet(rows))
    splits = Counter(row.split for row in rows if row.status == "pair")
    # A pair set without pairs must not replace one with pairs.
    if splits and use:
        current = CurrentPairs(
            fingerprint=plan.fingerprint,
            source=plan.dataset.origin,
            train=splits["train"],
            val=splits["val"],
        )
        swap_current(store, name, current, previous)
        ensure_pinned(store, name, plan.fingerprint)
    return _summarize(plan, raw, rows, store)


def _read_parts(plan: PairSetPlan, raw: RawSet, store: ObjectStore) -> list[ManifestRow]:
    """Read the rows of all shards. Deletes a corrupt part, so that its shard is extracted again."""

    def read(shard: int) -> list[ManifestRow]:
        key = f"{plan.folder}/{keys.part_name(shard)}"
        try:
            return rows_from_parquet(store.get(key))
        except CorruptObjectError:
            store.delete(key)
            raise

    with ThreadPoolExecutor(_MAX_CONCURRENT) as pool:
        parts = bounded_map(pool, read, range(raw.num_shards), 2 * _MAX_CONCURRENT)
        return [row for rows in parts for row in rows]


def _save_diff(plan: PairSetPlan, diff: PairSetDiff, store: ObjectStore) -> str:
    key = f"{plan.folder}/{diff.file_name}"
    if not store.exists(key):
        store.put(key, render_pair_set_diff(plan.dataset.title, diff).encode())
    return store.location(key)


def _render_contact_sheet(plan: PairSetPlan, pairs: list[ManifestRow], store: ObjectStore) -> bytes:
    """Render a JPEG with pairs that are evenly spaced over the pair set."""
    indices = np.linspace(0, len(pairs) - 1, min(_NUM_SHEET_PAIRS, len(pairs))).round().astype(int)
    reader = open_pairs(store, plan.dataset.name, plan.fingerprint, plan.settings)
    images: list[NDArray[np.uint8]] = []
    for row in (pairs[index] for index in indices):
        # As in training: the drawing is on the left, without JPEG artifacts on its lines.
        drawing, picture = split_pair(decode_pair(reader.read(row)), reader.drawing_side)
        images.append(join_pair(drawing, picture))
    return encode_jpeg(make_contact_sheet(images, _NUM_SHEET_COLUMNS), quality=90)


def _summarize(
    plan: PairSetPlan, raw: RawSet, rows: list[ManifestRow], store: ObjectStore
) -> PairSet:
    splits = Counter(row.split for row in rows if row.status == "pair")
    sheet = f"{plan.folder}/contact-sheet.jpg"
    return PairSet(
        dataset=plan.dataset.name,
        fingerprint=plan.fingerprint,
        train=splits["train"],
        val=splits["val"],
        rejected=dict(Counter(row.reason for row in rows if row.reason).most_common()),
        warnings=_find_warnings(plan, raw, rows),
        folder=store.location(plan.folder),
        contact_sheet=store.location(sheet) if splits else None,
        report=store.location(f"{plan.folder}/report.html"),
    )


def _find_warnings(plan: PairSetPlan, raw: RawSet, rows: list[ManifestRow]) -> list[str]:
    warnings = []
    if raw.warnings:
        warnings.append(f"The source differs from the catalogue: {', '.join(raw.warnings)}.")
    pairs = [row for row in rows if row.status == "pair"]
    num_pair_sized = sum((row.width, row.height) == (2 * PAIR_SIZE, PAIR_SIZE) for row in pairs)
    if not plan.dataset.paired and num_pair_sized > len(pairs) / 2:
        warnings.append(
            f"{num_pair_sized} pictures are {2 * PAIR_SIZE}×{PAIR_SIZE}, the size of pairs "
            "(drawing | picture). If they are pairs, prepare them with --paired."
        )
    if pairs and plan.drawing_side == "right":
        warnings.append(
            f"{len(pairs)} pairs have the picture on the left and the drawing on the right. Their "
            "halves were swapped."
        )
    num_blank = sum(row.reason == RejectReason.BLANK_EDGES for row in rows)
    if num_blank > 0.2 * (len(pairs) + num_blank) and plan.threshold is not None:
        warnings.append(
            f"{num_blank} drawings are nearly empty at threshold {plan.threshold:g}. Use a lower "
            "--threshold to keep fainter edges."
        )
    return warnings
