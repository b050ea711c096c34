"""The checkpoint registry: training runs and their checkpoints in the store."""

import hashlib
import re
from collections import defaultdict
from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from config.errors import CorruptObjectError, NotFoundError
from storage import keys
from storage.store import KeyValueStore, ObjectStore, get_or_none

_RECORD_KEY = re.compile(r"/([^/]+)/checkpoints/epoch-(\d+)\.json$")


class CheckpointRecord(BaseModel):
    """What is known of one checkpoint; written after its bytes, so it marks them complete.

    Attributes
    ----------
    epoch : epochs done.
    step : generator steps done.
    batches : steps done of the epoch after these; 0 at the end of an epoch. Others are interim:
        they are there to go on from, and go when the epoch has ended.
    sha256 : of the checkpoint's bytes (hex).
    metrics : the epoch's figures by name; none of an interim one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int
    step: int
    batches: int = 0
    sha256: str
    metrics: dict[str, float]

    @property
    def name(self) -> str:
        """The checkpoint's file name in its run's folder."""
        return (
            f"checkpoints/step-{self.step:08d}.pt" if self.batches else checkpoint_name(self.epoch)
        )

    def is_at_or_after(self, key: str) -> bool:
        """Tell whether this one was made after the checkpoint that has a key, by its name."""
        kind, _, number = key.rpartition("/")[2].removesuffix(".pt").partition("-")
        done = {"epoch": self.epoch, "step": self.step}.get(kind)
        return done is not None and number.isdecimal() and int(number) <= done


class Run:
    """One training run's folder in the store.

    Parameters
    ----------
    store : the store, or an outbox before it.
    dataset : data set that the run is for.
    run : the run's name.

    Attributes
    ----------
    dataset : as given.
    """

    def __init__(self, store: KeyValueStore, dataset: str, run: str) -> None:
        self.dataset = dataset
        self._store = store
        self._folder = keys.run_folder(dataset, run)

    def key(self, name: str) -> str:
        """Return the key of a file in the run's folder."""
        return f"{self._folder}/{name}"

    def location(self, name: str) -> str:
        """Return where a person finds a file of the run."""
        return self._store.location(self.key(name))

    def put(self, name: str, data: bytes) -> None:
        """Write a file of the run."""
        self._store.put(self.key(name), data)

    def get(self, name: str) -> bytes | None:
        """Return a file of the run, or None where there is none."""
        return get_or_none(self._store, self.key(name))

    def save_checkpoint(
        self, epoch: int, step: int, data: bytes, metrics: dict[str, float], batches: int = 0
    ) -> None:
        """Write a checkpoint and then its record; see ``CheckpointRecord``."""
        record = CheckpointRecord(
            epoch=epoch,
            step=step,
            batches=batches,
            sha256=hashlib.sha256(data).hexdigest(),
            metrics=metrics,
        )
        self.put(record.name, data)
        self.put(record_name(record.name), record.model_dump_json().encode())

    def list_checkpoints(self) -> list[CheckpointRecord]:
        """Return the records of the complete checkpoints at the end of an epoch, by epoch."""
        return [record for record in self.list_all_checkpoints() if not record.batches]

    def list_all_checkpoints(self) -> list[CheckpointRecord]:
        """Return the records of every complete checkpoint, by step: the last is to go on from.

        A record that is damaged marks nothing complete: the run makes checkpoint and record anew.
        """
        records = (
            read_checkpoint_record(self._store, key)
            for key in self._store.list_keys(self.key("checkpoints"))
            if key.endswith(".json")
        )
        return sorted(filter(None, records), key=lambda record: record.step)

    def get_record(self, epoch: int) -> CheckpointRecord:
        """Return the record of the checkpoint at the end of an epoch.

        Raises
        ------
        NotFoundError
            If there is none that is complete.
        """
        name = checkpoint_name(epoch)
        record = read_checkpoint_record(self._store, self.key(record_name(name)))
        if record is None:
            raise NotFoundError(
                f"There is no checkpoint {self.location(name)}. Choose another one."
            )
        return record

    def read_checkpoint(self, record: CheckpointRecord) -> bytes:
        """Return a checkpoint's bytes, checked.

        Raises
        ------
        CorruptObjectError
            If they are not what was written.
        """
        data = self._store.get(self.key(record.name))
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise CorruptObjectError(
                f"{self.location(record.name)} fails its SHA-256 check. Train again to go on from "
                "the one before."
            )
        return data

    def invalidate(self, record: CheckpointRecord) -> None:
        """Remove a record, so that its checkpoint counts as not there."""
        self._store.delete(self.key(record_name(record.name)))
        if record.batches:
            # Nothing will be written over it.
            self._store.delete(self.key(record.name))


def read_checkpoint_record(store: KeyValueStore, key: str) -> CheckpointRecord | None:
    """Return the record of a key; None where it is damaged, or gone meanwhile."""
    try:
        return CheckpointRecord.model_validate_json(store.get(key))
    except (ValidationError, CorruptObjectError, NotFoundError):
        return None


def list_checkpoints(store: ObjectStore, dataset: str) -> dict[str, list[int]]:
    """Return the epochs of a data set's complete checkpoints by run, both rising.

    Runs are in the order in which their last checkpoints were written.
    """
    epochs: defaultdict[str, list[int]] = defaultdict(list)
    last_written: dict[str, tuple[datetime, str]] = {}
    for info in store.list_objects(keys.runs_folder(dataset)):
        match = _RECORD_KEY.search(info.key)
        if match:
            run, epoch = match[1], int(match[2])
            epochs[run].append(epoch)
            last_written[run] = max(
                last_written.get(run, (info.modified, run)), (info.modified, run)
            )
    return {run: sorted(epochs[run]) for run in sorted(epochs, key=last_written.__getitem__)}


def has_checkpoint(store: ObjectStore, dataset: str) -> bool:
    """Tell whether any run of a data set has a complete checkpoint."""
    return any(
        "/checkpoints/" in key and key.endswith(".json")
        for key in store.list_keys(keys.runs_folder(dataset))
    )


def checkpoint_name(epoch: int) -> str:
    """Return the file name of an epoch's checkpoint in its run's folder."""
    return f"checkpoints/epoch-{epoch:04d}.pt"


def sample_name(epoch: int) -> str:
    """Return a sample grid's file name in its run's folder."""
    return f"samples/epoch-{epoch:04d}.jpg"


def sketches_name(epoch: int) -> str:
    """Return the file name, in its run's folder, of a grid of drawings by hand."""
    return f"samples/sketches-{epoch:04d}.jpg"


def record_name(checkpoint: str) -> str:
    """Return the file name of a checkpoint's record."""
    return checkpoint.removesuffix(".pt") + ".json"
