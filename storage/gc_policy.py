"""What may go: a rule over what a store holds, and no more than a rule."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.object_info import MultipartUpload, ObjectInfo
from storage.runs import CheckpointRecord

# No upload of ours takes longer.
_MIN_UPLOAD_AGE = timedelta(days=1)


@dataclass(frozen=True)
class CheckpointRetention:
    """How many checkpoints of a run stay: the last, at least 1, and those of lowest ``val_l1``."""

    last: int = 3
    best: int = 1


# Of a run that does not say.
DEFAULT_RETENTION = CheckpointRetention()


@dataclass(frozen=True)
class GcPolicy:
    """What stays besides what is needed.

    Attributes
    ----------
    keep_pairs : how many published pair sets of a data set, the newest.
    keep_last, keep_best : of a run's checkpoints, see ``Keeping``; None for as its recipe says.
    older_than : what was written since, however needless, and what is written at present.
    """

    keep_pairs: int = 1
    keep_last: int | None = None
    keep_best: int | None = None
    older_than: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class StoredPairSet:
    """A pair set, published or not: its folder, and at least one object in it."""

    dataset: str
    fingerprint: str
    path: str
    published: bool
    objects: tuple[ObjectInfo, ...]


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint: its bytes, whose key is its place, and its record, or only one of them.

    ``record`` is None where it is missing or cannot be read.
    """

    dataset: str
    run: str
    path: str
    record: CheckpointRecord | None
    objects: tuple[ObjectInfo, ...]

    @property
    def is_complete(self) -> bool:
        """Whether both are there."""
        return len(self.objects) == 2


@dataclass(frozen=True)
class ExportFolder:
    """The folder of a checkpoint's files that was made to promote it."""

    dataset: str
    path: str
    objects: tuple[ObjectInfo, ...]


@dataclass(frozen=True)
class Inventory:
    """What a store holds that the rules are about.

    Attributes
    ----------
    now : by the store's clock.
    sets, checkpoints, exports, uploads : all of them.
    keeping : what runs say that they keep, by data set and run.
    needed : places that a pointer, its history or a run points at.
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
    """Something that may go.

    Attributes
    ----------
    dataset, what, reason : for a person.
    place : what it is known by.
    keys : its objects, in the order in which they go: what marks others as done goes before them.
    size : bytes.
    modified : when the newest of it was written.
    upload : where it is no object yet.
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
    """Return what may go, by data set.

    Never what is needed, what was written within ``rules.older_than`` (or after now: that clock is
    wrong), or a run's checkpoint of the highest step, which the run goes on from (of two the one at
    the end of an epoch).
    """
    candidates = [
        *_unused_pair_sets(inventory.pair_sets, inventory.referenced, policy),
        *_unused_checkpoints(inventory, policy),
        *(
            _make_candidate(found, "files to serve", "no promotion names them")
            for found in inventory.exports
            if found.path not in inventory.referenced
        ),
        *_stale_uploads(inventory.uploads),
    ]

    def is_old(item: GcCandidate) -> bool:
        limit = max(policy.older_than, _MIN_UPLOAD_AGE) if item.upload else policy.older_than
        return inventory.now - item.modified >= limit

    return sorted(filter(is_old, candidates), key=lambda item: item.dataset)


def _unused_pair_sets(
    pair_sets: Iterable[StoredPairSet], referenced: frozenset[str], policy: GcPolicy
) -> Iterator[GcCandidate]:
    unreferenced = [found for found in pair_sets if found.path not in referenced]
    published: defaultdict[str, list[StoredPairSet]] = defaultdict(list)
    for found in unreferenced:
        if found.published:
            published[found.dataset].append(found)
    retained = {
        found.path
        for of_one in published.values()
        for found in sorted(of_one, key=_last_modified, reverse=True)[: policy.keep_pairs]
    }
    for found in unreferenced:
        if found.path not in retained:
            reason = "not in use, no run needs it" if found.published else "never finished"
            yield _make_candidate(found, f"pair set {found.fingerprint}", reason)


def _unused_checkpoints(inventory: Inventory, policy: GcPolicy) -> Iterator[GcCandidate]:
    runs: defaultdict[tuple[str, str], list[StoredCheckpoint]] = defaultdict(list)
    for found in inventory.checkpoints:
        runs[found.dataset, found.run].append(found)
    for run, of_one in runs.items():
        run_retention = inventory.retention.get(run, DEFAULT_RETENTION)
        retention = CheckpointRetention(
            run_retention.last if policy.keep_last is None else policy.keep_last,
            run_retention.best if policy.keep_best is None else policy.keep_best,
        )
        retained = inventory.referenced.union(retained_checkpoints(of_one, retention))
        for found in of_one:
            if found.path not in retained:
                reason = f"not of the last {retention.last} or the best {retention.best}"
                if not found.is_complete:
                    reason = "half of it is missing"
                elif found.record is not None and found.record.batches:
                    reason = "training went on from it"
                yield _make_candidate(found, f"checkpoint of run {found.run}", reason)


def retained_checkpoints(
    checkpoints: Iterable[StoredCheckpoint], retention: CheckpointRetention
) -> Iterator[str]:
    """Yield the places of a run's checkpoints to go on from, to go back to, and to use.

    Kept of some of them is at least what is kept of all: what the rule drops at any time during a
    run is not kept at its end either.
    """
    complete = [found for found in checkpoints if found.is_complete]
    # What cannot be read may be of a newer version of this program.
    yield from (found.path for found in complete if found.record is None)
    records = [(found.record, found.path) for found in complete if found.record is not None]
    # At the end of an epoch an interim one of the same step has nothing more to tell.
    highest = max(((record.step, not record.batches) for record, _ in records), default=None)
    yield from (place for record, place in records if (record.step, not record.batches) == highest)
    epochs = sorted((record.epoch, place) for record, place in records if not record.batches)
    yield from (place for _, place in epochs[-retention.last :])
    measured = [(record.metrics.get("val_l1", math.nan), place) for record, place in records]
    finite = sorted(found for found in measured if math.isfinite(found[0]))
    yield from (place for _, place in finite[: retention.best])


def _stale_uploads(uploads: Iterable[MultipartUpload]) -> Iterator[GcCandidate]:
    for found in uploads:
        yield GcCandidate(
            dataset=found.key.split("/")[1],
            description="upload",
            reason="never finished",
            path=found.upload_id,
            keys=(),
            size=found.size,
            modified=found.initiated,
            upload=found,
        )


def _last_modified(pair_set: StoredPairSet) -> tuple[datetime, str]:
    return max(entry.modified for entry in pair_set.objects), pair_set.fingerprint


def _make_candidate(
    stored: StoredPairSet | StoredCheckpoint | ExportFolder, description: str, reason: str
) -> GcCandidate:
    return GcCandidate(
        dataset=stored.dataset,
        description=description,
        reason=reason,
        path=stored.path,
        keys=tuple(sorted((entry.key for entry in stored.objects), key=_deletion_order)),
        size=sum(entry.size for entry in stored.objects),
        modified=max(entry.modified for entry in stored.objects),
    )


def _deletion_order(key: str) -> tuple[int, str]:
    """Sort a manifest before its parts, those before shards, and ``.json`` before ``.pt``.

    And a card before the files that it marks as whole.
    """
    first = key.endswith(("/manifest.parquet", "/card.json"))
    return 0 if first else 1 if "/parts/" in key else 2, key
