"""Finished shards to a published pair set: manifest, sheet, report, pointer."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

from config.errors import DamagedError
from postprocess import (
    PAIR_SIZE,
    decode_pair,
    encode_jpeg,
    join_pair,
    make_sheet,
    split_pair,
)
from reports.pair_set_diff import Comparison, compare_sets, render_comparison
from reports.pair_set_report import render_report
from reports.thumbnails import draw_thumbnails
from sources import RawSet
from storage import ObjectStore, Reason, keys, open_store
from storage.manifest import Row, check_manifest, load_rows, read_rows, write_rows
from storage.pair_sets import CurrentPairs, locate_pairs, read_current, swap_current
from storage.pins import check_kept
from storage.raw_sets import read_acceptance, read_origin
from tasks.bounded_map import map_ahead
from tasks.pair_set_artifacts import show_pairs
from tasks.pair_set_plan import PairPlan
from tasks.progress import bar
from tasks.retries import is_store_outage
from tasks.verify import check_shards

_SHEET_PAIRS = 24
_SHEET_COLUMNS = 3

# Parts are small: what each costs is the way to the store and back.
_AT_ONCE = 16


@dataclass(frozen=True)
class PairSet:
    """A published pair set in short.

    Attributes
    ----------
    dataset, fingerprint : which one.
    train, val : pairs on each side.
    rejected : how many files for each reason.
    hints : what looks wrong, and what to try.
    folder, sheet, report : where a person finds them; sheet is None where there is no pair.
    comparison : the page that compares it with the set that was in use; None where there was none.
    """

    dataset: str
    fingerprint: str
    train: int
    val: int
    rejected: dict[str, int]
    hints: list[str]
    folder: str
    sheet: str | None
    report: str
    comparison: str | None = field(default=None, compare=False)


@task(
    task_run_name="publish {plan.dataset.name}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=exponential_backoff(30),
    retry_condition_fn=is_store_outage,
)
def publish(
    plan: PairPlan,
    raw: RawSet,
    store_url: str,
    before: CurrentPairs | None,
    use: bool = True,
) -> PairSet:
    """Publish a pair set, unless it is, and point at it; see ``publish_pairs``."""
    store = open_store(store_url)
    with bar(f"{plan.dataset.name}: publish"):
        made = publish_pairs(plan, raw, store, before, use)
    get_run_logger().info(
        "%s: %d train and %d val pairs, %d rejected, pair set %s",
        *(made.dataset, made.train, made.val, sum(made.rejected.values()), made.fingerprint),
    )
    for hint in made.hints:
        get_run_logger().warning("%s: %s", made.dataset, hint)
    comparison = None
    if before is not None and before.fingerprint != plan.fingerprint:
        comparison = compare_sets(store, made.dataset, before.fingerprint, made.fingerprint)
    if comparison is not None:
        made = replace(made, comparison=_store_comparison(plan, comparison, store))
    counts = {"train": made.train, "validate": made.val}
    current = read_current(store, made.dataset)
    in_use = current is not None and current.fingerprint == made.fingerprint
    show_pairs(plan, counts, made.rejected, in_use, store, comparison)
    return made


def publish_pairs(
    plan: PairPlan,
    raw: RawSet,
    store: ObjectStore,
    before: CurrentPairs | None = None,
    use: bool = True,
) -> PairSet:
    """Join the parts of a pair set into its manifest, draw sheet and report, swap the pointer.

    The manifest is written when all else is there, and the pointer moves after it, so a reader
    never meets half a set.

    Parameters
    ----------
    plan, raw, store : what to publish, of which files, and where.
    before : the pair set in use when this one was begun; the pointer moves from that only.
    use : whether the pointer is to move.

    Raises
    ------
    ConflictError
        If another pair set came into use meanwhile, or `icanvas gc` is removing this one.
    IntegrityError
        If a row of the raw index is missing, doubled or incomplete, or `icanvas gc` has just
        removed the set.
    DamagedError
        If a shard is; then extracting again makes it anew.
    """
    name = plan.dataset.name
    # A manifest that is damaged is made anew of its parts.
    rows = load_rows(store, keys.manifest(name, plan.fingerprint))
    if rows is None:
        rows = _read_parts(plan, raw, store)
        check_manifest(rows, raw.files)
        check_shards(plan, rows, store)
        pairs = [row for row in rows if row.status == "pair"]
        sheet = _draw_sheet(plan, pairs, store) if pairs else None
        if sheet is not None:
            store.put(f"{plan.folder}/contact-sheet.jpg", sheet)
        page = render_report(
            plan.dataset,
            plan.fingerprint,
            plan.settings,
            rows,
            sheet,
            draw_thumbnails(plan.dataset, plan.raw_folder, rows, store),
            _look_for_slips(plan, raw, rows),
            read_origin(store, keys.raw_origin(name, plan.raw)),
            read_acceptance(store, name),
        )
        store.put(f"{plan.folder}/report.html", page.encode())
        store.put(f"{plan.folder}/manifest.parquet", write_rows(rows))
    splits = Counter(row.split for row in rows if row.status == "pair")
    # To point at nothing would hide what was there.
    if splits and use:
        current = CurrentPairs(
            fingerprint=plan.fingerprint,
            source=plan.dataset.origin,
            train=splits["train"],
            val=splits["val"],
        )
        swap_current(store, name, current, before)
        check_kept(store, name, plan.fingerprint)
    return _summarise(plan, raw, rows, store)


def _read_parts(plan: PairPlan, raw: RawSet, store: ObjectStore) -> list[Row]:
    """Return the rows of all shards; a part that is damaged counts as not done any more."""

    def read(shard: int) -> list[Row]:
        key = f"{plan.folder}/{keys.part_name(shard)}"
        try:
            return read_rows(store.get(key))
        except DamagedError:
            store.delete(key)
            raise

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        parts = map_ahead(pool, read, range(raw.shards), 2 * _AT_ONCE)
        return [row for rows in parts for row in rows]


def _store_comparison(plan: PairPlan, comparison: Comparison, store: ObjectStore) -> str:
    key = f"{plan.folder}/{comparison.key}"
    if not store.exists(key):
        store.put(key, render_comparison(plan.dataset.title, comparison).encode())
    return store.location(key)


def _draw_sheet(plan: PairPlan, pairs: list[Row], store: ObjectStore) -> bytes:
    """Return a JPEG of pairs taken evenly from all of them."""
    chosen = np.linspace(0, len(pairs) - 1, min(_SHEET_PAIRS, len(pairs))).round().astype(int)
    stored = locate_pairs(store, plan.dataset.name, plan.fingerprint, plan.settings)
    images: list[NDArray[np.uint8]] = []
    for row in (pairs[index] for index in chosen):
        # As training sees it: turned, and its lines without what a JPEG adds.
        drawing, picture = split_pair(decode_pair(stored.read(row)), stored.drawing)
        images.append(join_pair(drawing, picture))
    return encode_jpeg(make_sheet(images, _SHEET_COLUMNS), quality=90)


def _summarise(plan: PairPlan, raw: RawSet, rows: list[Row], store: ObjectStore) -> PairSet:
    splits = Counter(row.split for row in rows if row.status == "pair")
    sheet = f"{plan.folder}/contact-sheet.jpg"
    return PairSet(
        dataset=plan.dataset.name,
        fingerprint=plan.fingerprint,
        train=splits["train"],
        val=splits["val"],
        rejected=dict(Counter(row.reason for row in rows if row.reason).most_common()),
        hints=_look_for_slips(plan, raw, rows),
        folder=store.location(plan.folder),
        sheet=store.location(sheet) if splits else None,
        report=store.location(f"{plan.folder}/report.html"),
    )


def _look_for_slips(plan: PairPlan, raw: RawSet, rows: list[Row]) -> list[str]:
    hints = []
    if raw.warnings:
        hints.append(f"Other than expected: {', '.join(raw.warnings)}.")
    pairs = [row for row in rows if row.status == "pair"]
    ready = sum((row.width, row.height) == (2 * PAIR_SIZE, PAIR_SIZE) for row in pairs)
    if not plan.dataset.paired and ready > len(pairs) / 2:
        hints.append(
            f"{ready} pictures are {2 * PAIR_SIZE}×{PAIR_SIZE}, as ready pairs (drawing | picture) "
            "are: if that is what they are, prepare them with --paired."
        )
    if pairs and plan.drawing == "right":
        hints.append(
            f"{len(pairs)} pairs hold the picture on the left and the drawing on the right; they "
            "were turned."
        )
    blank = sum(row.reason == Reason.BLANK_EDGES for row in rows)
    if blank > 0.2 * (len(pairs) + blank) and plan.threshold is not None:
        hints.append(
            f"{blank} drawings are nearly empty at threshold {plan.threshold:g}: a lower "
            "--threshold finds fainter edges."
        )
    return hints
