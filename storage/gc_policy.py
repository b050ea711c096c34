"""What may go: a rule over what a store holds, and no more than a rule."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from storage.object_info import Entry, Upload
from storage.runs import CheckpointRecord

# No upload of ours takes longer.
_UPLOAD = timedelta(days=1)


@dataclass(frozen=True)
class Keeping:
    """How many checkpoints of a run stay: the last, at least 1, and those of lowest ``val_l1``."""

    last: int = 3
    best: int = 1


# Of a run that does not say.
DEFAULT = Keeping()


@dataclass(frozen=True)
class Rules:
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
class StoredSet:
    """A pair set, published or not: its folder, and at least one object in it."""

    dataset: str
    fingerprint: str
    place: str
    published: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint: its bytes, whose key is its place, and its record, or only one of them.

    ``record`` is None where it is missing or cannot be read.
    """

    dataset: str
    run: str
    place: str
    record: CheckpointRecord | None
    entries: tuple[Entry, ...]

    @property
    def whole(self) -> bool:
        """Whether both are there."""
        return len(self.entries) == 2


@dataclass(frozen=True)
class StoredFiles:
    """The folder of a checkpoint's files that was made to promote it."""

    dataset: str
    place: str
    entries: tuple[Entry, ...]


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
    sets: tuple[StoredSet, ...]
    checkpoints: tuple[StoredCheckpoint, ...]
    exports: tuple[StoredFiles, ...]
    uploads: tuple[Upload, ...]
    keeping: Mapping[tuple[str, str], Keeping]
    needed: frozenset[str]


@dataclass(frozen=True)
class Removable:
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
    what: str
    reason: str
    place: str
    keys: tuple[str, ...]
    size: int
    modified: datetime
    upload: Upload | None = None


def plan_removal(inventory: Inventory, rules: Rules) -> list[Removable]:
    """Return what may go, by data set.

    Never what is needed, what was written within ``rules.older_than`` (or after now: that clock is
    wrong), or a run's checkpoint of the highest step, which the run goes on from (of two the one at
    the end of an epoch).
    """
    found = [
        *_spare_sets(inventory.sets, inventory.needed, rules),
        *_spare_checkpoints(inventory, rules),
        *(
            _removable(found, "files to serve", "no promotion names them")
            for found in inventory.exports
            if found.place not in inventory.needed
        ),
        *_stale_uploads(inventory.uploads),
    ]

    def is_old(item: Removable) -> bool:
        limit = max(rules.older_than, _UPLOAD) if item.upload else rules.older_than
        return inventory.now - item.modified >= limit

    return sorted(filter(is_old, found), key=lambda item: item.dataset)


def _spare_sets(
    sets: Iterable[StoredSet], needed: frozenset[str], rules: Rules
) -> Iterator[Removable]:
    spare = [found for found in sets if found.place not in needed]
    published: defaultdict[str, list[StoredSet]] = defaultdict(list)
    for found in spare:
        if found.published:
            published[found.dataset].append(found)
    kept = {
        found.place
        for of_one in published.values()
        for found in sorted(of_one, key=_newest, reverse=True)[: rules.keep_pairs]
    }
    for found in spare:
        if found.place not in kept:
            reason = "not in use, no run needs it" if found.published else "never finished"
            yield _removable(found, f"pair set {found.fingerprint}", reason)


def _spare_checkpoints(inventory: Inventory, rules: Rules) -> Iterator[Removable]:
    runs: defaultdict[tuple[str, str], list[StoredCheckpoint]] = defaultdict(list)
    for found in inventory.checkpoints:
        runs[found.dataset, found.run].append(found)
    for run, of_one in runs.items():
        own = inventory.keeping.get(run, DEFAULT)
        keeping = Keeping(
            own.last if rules.keep_last is None else rules.keep_last,
            own.best if rules.keep_best is None else rules.keep_best,
        )
        kept = inventory.needed.union(kept_checkpoints(of_one, keeping))
        for found in of_one:
            if found.place not in kept:
                reason = f"not of the last {keeping.last} or the best {keeping.best}"
                if not found.whole:
                    reason = "half of it is missing"
                elif found.record is not None and found.record.batches:
                    reason = "training went on from it"
                yield _removable(found, f"checkpoint of run {found.run}", reason)


def kept_checkpoints(checkpoints: Iterable[StoredCheckpoint], keeping: Keeping) -> Iterator[str]:
    """Yield the places of a run's checkpoints to go on from, to go back to, and to use.

    Kept of some of them is at least what is kept of all: what the rule drops at any time during a
    run is not kept at its end either.
    """
    whole = [found for found in checkpoints if found.whole]
    # What cannot be read may be of a newer version of this program.
    yield from (found.place for found in whole if found.record is None)
    records = [(found.record, found.place) for found in whole if found.record is not None]
    # At the end of an epoch an interim one of the same step has nothing more to tell.
    highest = max(((record.step, not record.batches) for record, _ in records), default=None)
    yield from (place for record, place in records if (record.step, not record.batches) == highest)
    epochs = sorted((record.epoch, place) for record, place in records if not record.batches)
    yield from (place for _, place in epochs[-keeping.last :])
    measured = [(record.metrics.get("val_l1", math.nan), place) for record, place in records]
    finite = sorted(found for found in measured if math.isfinite(found[0]))
    yield from (place for _, place in finite[: keeping.best])


def _stale_uploads(uploads: Iterable[Upload]) -> Iterator[Removable]:
    for found in uploads:
        yield Removable(
            dataset=found.key.split("/")[1],
            what="upload",
            reason="never finished",
            place=found.id,
            keys=(),
            size=found.size,
            modified=found.begun,
            upload=found,
        )


def _newest(found: StoredSet) -> tuple[datetime, str]:
    return max(entry.modified for entry in found.entries), found.fingerprint


def _removable(
    found: StoredSet | StoredCheckpoint | StoredFiles, what: str, reason: str
) -> Removable:
    return Removable(
        dataset=found.dataset,
        what=what,
        reason=reason,
        place=found.place,
        keys=tuple(sorted((entry.key for entry in found.entries), key=_turn)),
        size=sum(entry.size for entry in found.entries),
        modified=max(entry.modified for entry in found.entries),
    )


def _turn(key: str) -> tuple[int, str]:
    """Sort a manifest before its parts, those before shards, and ``.json`` before ``.pt``.

    And a card before the files that it marks as whole.
    """
    first = key.endswith(("/manifest.parquet", "/card.json"))
    return 0 if first else 1 if "/parts/" in key else 2, key
