"""Select what may be deleted: a pure function of a store's inventory and a policy."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.object_info import MultipartUpload, ObjectInfo
from storage.runs import CheckpointRecord

# No upload takes longer, so an older one is abandoned.
_MIN_UPLOAD_AGE = timedelta(days=1)


@dataclass(frozen=True)
class CheckpointRetention:
    """How many checkpoints of a run to retain.

    Attributes
    ----------
    last : int, ≥ 1
        The most recent ones at the end of an epoch.
    best : int, ≥ 0
        Those with the lowest ``val_l1``.
    """

    last: int = 3
    best: int = 1


# For runs whose recipe states nothing.
DEFAULT_RETENTION = CheckpointRetention()


@dataclass(frozen=True)
class GcPolicy:
    """What to retain besides what is referenced.

    Attributes
    ----------
    keep_pairs : int, ≥ 0
        Number of published, unreferenced pair sets per data set, the most recent ones.
    keep_last, keep_best : int or None
        Overrides of a run's ``CheckpointRetention``; None for what the run's recipe states.
    older_than : datetime.timedelta
        Minimum age of what may be deleted. It protects what is being written at present.
    """

    keep_pairs: int = 1
    keep_last: int | None = None
    keep_best: int | None = None
    older_than: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class StoredPairSet:
    """A pair set, published or not.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set.
    path : str
        Its folder.
    published : bool
        Whether its manifest exists.
    objects : tuple of ObjectInfo
        Its objects; at least one.
    """

    dataset: str
    fingerprint: str
    path: str
    published: bool
    objects: tuple[ObjectInfo, ...]


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint: its bytes and its record, or only one of them.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    run : str
        Name of the run.
    path : str
        Key of its bytes.
    record : CheckpointRecord or None
        None if the record is missing or cannot be read.
    objects : tuple of ObjectInfo
        One or two objects.
    """

    dataset: str
    run: str
    path: str
    record: CheckpointRecord | None
    objects: tuple[ObjectInfo, ...]

    @property
    def is_complete(self) -> bool:
        """Whether both bytes and record exist."""
        return len(self.objects) == 2


@dataclass(frozen=True)
class ExportFolder:
    """The folder of files that were exported from a checkpoint to promote it.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    path : str
        The folder.
    objects : tuple of ObjectInfo
        Its objects; at least one.
    """

    dataset: str
    path: str
    objects: tuple[ObjectInfo, ...]


@dataclass(frozen=True)
class Inventory:
    """Everything in a store that garbage collection concerns.

    Attributes
    ----------
    now : datetime.datetime, UTC
        Current time by the store's clock.
    pair_sets : tuple of StoredPairSet
        All pair sets.
    checkpoints : tuple of StoredCheckpoint
        All checkpoints.
    exports : tuple of ExportFolder
        All exports.
    uploads : tuple of MultipartUpload
        All unfinished uploads.
    retention : mapping of (dataset, run) to CheckpointRetention
        What the runs' recipes state.
    referenced : frozenset of str
        Paths that a pointer, its history or a run refers to.
    """

    now: datetime
    pair_sets: tuple[StoredPairSet, ...]
    checkpoints: tuple[StoredCheckpoint, ...]
    exports: tuple[ExportFolder, ...]
    uploads: tuple[MultipartUpload, ...]
    retention: Mapping[tuple[str, str], CheckpointRetention]
    referenced: frozenset[str]


@dataclass(frozen=True)
class GcCandidate:
    """Something that may be deleted.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    description : str
        What it is, for people.
    reason : str
        Why it may be deleted, for people.
    path : str
        Folder or key that identifies it; the ID of an unfinished upload.
    keys : tuple of str
        Its objects in the order of deletion: markers of completeness go before what they mark.
    size : int, bytes
        Total size.
    modified : datetime.datetime, UTC
        Time of the last write to any of its objects.
    upload : MultipartUpload or None
        The upload, if it is an unfinished one.
    """

    dataset: str
    description: str
    reason: str
    path: str
    keys: tuple[str, ...]
    size: int
    modified: datetime
    upload: MultipartUpload | None = None


def select_candidates(inventory: Inventory, policy: GcPolicy) -> list[GcCandidate]:
    """Select what may be deleted.

    These are never selected: what is referenced; what was written within ``policy.older_than``, or
    after ``inventory.now`` (the writer's clock is wrong then); and the checkpoint that a run
    resumes from, which is that of the highest step (of two, the one at the end of an epoch).

    Parameters
    ----------
    inventory : Inventory
        What the store holds.
    policy : GcPolicy
        What to retain.

    Returns
    -------
    list of GcCandidate
        By data set.
    """
    candidates = [
        *_unused_pair_sets(inventory.pair_sets, inventory.referenced, policy),
        *_unused_checkpoints(inventory, policy),
        *(
            _make_candidate(export, "export", "not named by any promotion")
            for export in inventory.exports
            if export.path not in inventory.referenced
        ),
        *_stale_uploads(inventory.uploads),
    ]

    def is_old(candidate: GcCandidate) -> bool:
        limit = max(policy.older_than, _MIN_UPLOAD_AGE) if candidate.upload else policy.older_than
        return inventory.now - candidate.modified >= limit

    return sorted(filter(is_old, candidates), key=lambda candidate: candidate.dataset)


def _unused_pair_sets(
    pair_sets: Iterable[StoredPairSet], referenced: frozenset[str], policy: GcPolicy
) -> Iterator[GcCandidate]:
    unreferenced = [pair_set for pair_set in pair_sets if pair_set.path not in referenced]
    published: defaultdict[str, list[StoredPairSet]] = defaultdict(list)
    for pair_set in unreferenced:
        if pair_set.published:
            published[pair_set.dataset].append(pair_set)
    retained = {
        pair_set.path
        for of_dataset in published.values()
        for pair_set in sorted(of_dataset, key=_last_modified, reverse=True)[: policy.keep_pairs]
    }
    for pair_set in unreferenced:
        if pair_set.path not in retained:
            reason = "not in use, no run needs it" if pair_set.published else "unfinished"
            yield _make_candidate(pair_set, f"pair set {pair_set.fingerprint}", reason)


def _unused_checkpoints(inventory: Inventory, policy: GcPolicy) -> Iterator[GcCandidate]:
    runs: defaultdict[tuple[str, str], list[StoredCheckpoint]] = defaultdict(list)
    for checkpoint in inventory.checkpoints:
        runs[checkpoint.dataset, checkpoint.run].append(checkpoint)
    for run, of_run in runs.items():
        run_retention = inventory.retention.get(run, DEFAULT_RETENTION)
        retention = CheckpointRetention(
            run_retention.last if policy.keep_last is None else policy.keep_last,
            run_retention.best if policy.keep_best is None else policy.keep_best,
        )
        retained = inventory.referenced.union(retained_checkpoints(of_run, retention))
        for checkpoint in of_run:
            if checkpoint.path not in retained:
                reason = f"not among the last {retention.last} or the best {retention.best}"
                if not checkpoint.is_complete:
                    reason = "incomplete"
                elif checkpoint.record is not None and checkpoint.record.batches:
                    reason = "interim, training has continued"
                yield _make_candidate(checkpoint, f"checkpoint of run {checkpoint.run}", reason)


def retained_checkpoints(
    checkpoints: Iterable[StoredCheckpoint], retention: CheckpointRetention
) -> Iterator[str]:
    """Yield the keys of those checkpoints of a run that are retained.

    The result is monotonic: what is retained of a subset is at least what is retained of all. So a
    checkpoint that is deleted during a run would not be retained at its end either.

    Parameters
    ----------
    checkpoints : iterable of StoredCheckpoint
        Checkpoints of one run.
    retention : CheckpointRetention
        How many to retain.

    Yields
    ------
    str
        Keys of the one to resume from, the last ones, the best ones, and those whose record cannot
        be read. A key may occur more than once.
    """
    complete = [checkpoint for checkpoint in checkpoints if checkpoint.is_complete]
    # An unreadable record may have been written by a newer version of this program.
    yield from (checkpoint.path for checkpoint in complete if checkpoint.record is None)
    records = [
        (checkpoint.record, checkpoint.path)
        for checkpoint in complete
        if checkpoint.record is not None
    ]
    # An interim checkpoint is useless if one at the end of an epoch has the same step.
    highest = max(((record.step, not record.batches) for record, _ in records), default=None)
    yield from (key for record, key in records if (record.step, not record.batches) == highest)
    epochs = sorted((record.epoch, key) for record, key in records if not record.batches)
    yield from (key for _, key in epochs[-retention.last :])
    measured = [(record.metrics.get("val_l1", math.nan), key) for record, key in records]
    with_metric = sorted(item for item in measured if math.isfinite(item[0]))
    yield from (key for _, key in with_metric[: retention.best])


def _stale_uploads(uploads: Iterable[MultipartUpload]) -> Iterator[GcCandidate]:
    for upload in uploads:
        yield GcCandidate(
            dataset=upload.key.split("/")[1],
            description="upload",
            reason="unfinished",
            path=upload.upload_id,
            keys=(),
            size=upload.size,
            modified=upload.initiated,
            upload=upload,
        )


def _last_modified(pair_set: StoredPairSet) -> tuple[datetime, str]:
    return max(info.modified for info in pair_set.objects), pair_set.fingerprint


def _make_candidate(
    stored: StoredPairSet | StoredCheckpoint | ExportFolder, description: str, reason: str
) -> GcCandidate:
    return GcCandidate(
        dataset=stored.dataset,
        description=description,
        reason=reason,
        path=stored.path,
        keys=tuple(sorted((info.key for info in stored.objects), key=_deletion_order)),
        size=sum(info.size for info in stored.objects),
        modified=max(info.modified for info in stored.objects),
    )


def _deletion_order(key: str) -> tuple[int, str]:
    """Sort key: manifests and cards first, then parts, then shards; ``.json`` before ``.pt``.

    A marker of completeness must be deleted before what it marks.
    """
    first = key.endswith(("/manifest.parquet", "/card.json"))
    return 0 if first else 1 if "/parts/" in key else 2, key
