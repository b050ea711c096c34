"""One raw shard to one pair shard: pictures in, drawings beside their pictures out."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from functools import lru_cache

import cv2
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from datasets import DataSet, RejectedPicture, decode_picture
from errors import IntegrityError, StorageError
from hed import EdgeDetector
from postprocess import (
    PAIR_SIZE,
    centre,
    clean_edges,
    edge_density,
    encode_pair,
    fit_picture,
    join_pair,
    recognise_pair,
)
from settings import get_settings
from storage import ObjectStore, Reason, keys, open_store
from storage.fingerprint import fingerprint
from storage.manifest import Row, read_rows, split_of, write_rows
from storage.shards import ShardWriter
from tasks.interrupt import stop_if_interrupted
from tasks.progress import advance

PAIR_FORMAT = 1


@dataclass(frozen=True)
class PairPlan:
    """Everything that determines the bytes of a pair set.

    Attributes
    ----------
    dataset : geometry, edge settings and the rest.
    raw : fingerprint of the raw set.
    threshold : the edge threshold in force; None where no edges are extracted.
    weights : digest of HED's weights; None where no edges are extracted.
    revision : 0, and one more for each forced run with the same settings.
    """

    dataset: DataSet
    raw: str
    threshold: float | None
    weights: str | None
    revision: int = 0

    @property
    def settings(self) -> dict[str, object]:
        """The facts as JSON values; their fingerprint names the pair set."""
        facts: dict[str, object] = {
            "format": PAIR_FORMAT,
            "raw": self.raw,
            "geometry": {**self.dataset.geometry.model_dump(), "size": PAIR_SIZE},
            "paired": self.dataset.paired,
            "val_share": self.dataset.val_share,
        }
        edges = {**self.dataset.edges.model_dump(), "threshold": self.threshold}
        if self.dataset.paired:
            facts["edges"] = {"min_density": edges["min_density"]}
        else:
            facts |= {"edges": edges, "weights": self.weights}
        if self.revision:
            facts["revision"] = self.revision
        return facts

    @property
    def fingerprint(self) -> str:
        """Name of the pair set."""
        return fingerprint(self.settings)

    @property
    def raw_folder(self) -> str:
        """Key of the raw set's folder."""
        return keys.raw_folder(self.dataset.name, self.raw)

    @property
    def folder(self) -> str:
        """Key of the pair set's folder."""
        return keys.pairs_folder(self.dataset.name, self.fingerprint)

    @property
    def bar(self) -> str:
        """Name of the progress bar."""
        return f"{self.dataset.name}: extract"


@task(
    task_run_name="extract {plan.dataset.name} {shard:05d}",
    # The store tells what is done, not what Prefect remembers.
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=5,
    # A store may come back; bad settings and damaged bytes do not mend themselves.
    retry_condition_fn=lambda _task, _run, state: _is_storage_fault(state),
)
def extract(plan: PairPlan, shard: int, store_url: str) -> None:
    """Make one pair shard, unless it is there; see ``extract_shard``."""
    made = extract_shard(plan, shard, open_store(store_url))
    pairs = sum(row.status == "pair" for row in made)
    get_run_logger().info(
        "%s %05d: %d pairs, %d rejected",
        plan.dataset.name,
        shard,
        pairs,
        len(made) - pairs,
    )


def extract_shard(plan: PairPlan, shard: int, store: ObjectStore) -> list[Row]:
    """Write the pairs of one raw shard and, last of all, their rows.

    Parameters
    ----------
    plan : what to make.
    shard : the raw shard's number.
    store : holds the raw set, takes the pair shard.

    Returns
    -------
    list of Row
        The shard's rows, each a pair or rejected; where the part was there already, its rows.
    """
    part = f"{plan.folder}/{keys.part_name(shard)}"
    if store.exists(part):
        return read_rows(store.get(part))
    made: list[Row] = []
    sources = read_rows(store.get(f"{plan.raw_folder}/{keys.part_name(shard)}"))
    with (
        # Without names, so that nothing stays behind a process that is killed.
        tempfile.TemporaryFile() as train_file,
        tempfile.TemporaryFile() as val_file,
        store.open_local(f"{plan.raw_folder}/{keys.shard_name(shard)}") as raw,
        raw.open("rb") as file,
    ):
        files = {"train": train_file, "val": val_file}
        with ShardWriter(train_file) as train, ShardWriter(val_file) as val:
            writers = {"train": train, "val": val}
            for row in sources:
                stop_if_interrupted()
                if row.status == "accepted" and row.offset is not None and row.size is not None:
                    file.seek(row.offset)
                    pair = _make_pair(plan, row, file.read(row.size))
                    if pair is not None and row.split is not None:
                        row.offset = writers[row.split].add(f"{row.id}.png", pair)
                        row.size, row.status = len(pair), "pair"
                made.append(row)
                advance(plan.bar)
        for split, scratch in files.items():
            if writers[split].members:
                store.put_file(f"{plan.folder}/{keys.shard_name(shard, split)}", scratch)
    store.put(part, write_rows(made))
    return made


def _make_pair(plan: PairPlan, row: Row, content: bytes) -> bytes | None:
    """Return the encoded pair, or None and the row rejected."""
    dataset = plan.dataset
    if row.sha256 != hashlib.sha256(content).hexdigest():
        raise IntegrityError(
            f"{plan.raw_folder}/{keys.shard_name(row.shard)} is damaged at "
            f"{row.source_path}. Delete that folder and run `icanvas prepare` again."
        )
    assert row.pixel_hash is not None, "an accepted row was decoded"
    row.split = split_of(row.pixel_hash, dataset.val_share)
    try:
        picture = decode_picture(
            content, row.source_path, dataset.geometry.colour, dataset.max_pixels
        )
    except RejectedPicture as rejected:
        # Acquired with another decoder than this worker's.
        row.reject(rejected.reason, rejected.detail)
        return None
    height, width = picture.shape[:2]
    geometry = dataset.geometry
    if dataset.paired:
        halves = recognise_pair(picture)
        if halves is None:
            row.reject(
                Reason.NOT_A_PAIR,
                f"{width}×{height} is not a drawing left of its picture",
            )
            return None
        # Scaled together: a drawing at another size would no longer be lines of one pixel.
        if height != PAIR_SIZE:
            row.reject(Reason.NOT_A_PAIR, f"a pair is 512×256, this one {width}×{height}")
            return None
        drawing, fitted = halves
    else:
        if min(height, width) < geometry.min_side:
            row.reject(Reason.TOO_SMALL, f"{width}×{height}, under {geometry.min_side} px")
            return None
        if max(height, width) > geometry.max_aspect * min(height, width):
            row.reject(Reason.ASPECT, f"{width}×{height}, over {geometry.max_aspect:g}:1")
            return None
        inner = fit_picture(picture, PAIR_SIZE, geometry.mode)
        assert plan.threshold is not None, "a plan with edges has a threshold"
        probability = detector(dataset.edges.border).detect([inner])[0]
        lines = clean_edges(probability, plan.threshold, dataset.edges.min_pixels)
        drawing = centre(lines, PAIR_SIZE, 255)
        fitted = centre(inner, PAIR_SIZE, geometry.colour)
    row.edge_density = edge_density(drawing)
    if row.edge_density < dataset.edges.min_density:
        row.reject(
            Reason.BLANK_EDGES,
            f"{row.edge_density:.2%} line pixels, under {dataset.edges.min_density:.2%}",
        )
        return None
    return encode_pair(join_pair(drawing, fitted))


def detector(border: int) -> EdgeDetector:
    """Return this process's detector, the cores shared out among the shards done at once."""
    settings = get_settings()
    return _detector(settings.engine, settings.workers, border)


@lru_cache(maxsize=4)
def _detector(engine: str, workers: int, border: int) -> EdgeDetector:
    cv2.setNumThreads(max(1, (os.cpu_count() or 1) // workers))
    return EdgeDetector.load(engine, border=border)


def _is_storage_fault(state: object) -> bool:
    data = getattr(state, "data", None)
    return isinstance(getattr(data, "exception", data), StorageError)
