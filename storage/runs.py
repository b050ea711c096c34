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
    """Metadata of a checkpoint. It is written after the checkpoint's bytes and marks them complete.

    Attributes
    ----------
    epoch : int, ≥ 0
        Number of finished epochs.
    step : int, ≥ 0
        Number of finished generator steps.
    batches : int, ≥ 0
        Steps of the next epoch that are finished; 0 at the end of an epoch. Other checkpoints are
        interim: training resumes from them, and they are deleted when the epoch has ended.
    sha256 : str
        SHA-256 (hex) of the checkpoint's bytes.
    metrics : dict of str to float
        The epoch's metrics by name; empty for an interim checkpoint.
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
        """Check by its name whether a checkpoint is not further in training than this one.

        Parameters
        ----------
        key : str
            Key of a checkpoint: ``…/epoch-0004.pt`` or ``…/step-00000120.pt``.

        Returns
        -------
        bool
            False for any other name.
        """
        kind, _, number = key.rpartition("/")[2].removesuffix(".pt").partition("-")
        done = {"epoch": self.epoch, "step": self.step}.get(kind)
        return done is not None and number.isdecimal() and int(number) <= done


class Run:
    """The folder of a training run in the store.

    Parameters
    ----------
    store : KeyValueStore
        The store, or an ``AsyncUploader`` in front of it.
    dataset : str
        Name of the data set.
    run : str
        Name of the run.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    """

    def __init__(self, store: KeyValueStore, dataset: str, run: str) -> None:
        self.dataset = dataset
        self._store = store
        self._folder = keys.run_folder(dataset, run)

    def key(self, name: str) -> str:
        """Return the key of a file of the run.

        Parameters
        ----------
        name : str
            File name in the run's folder.
        """
        return f"{self._folder}/{name}"

    def location(self, name: str) -> str:
        """Return the path or URL of a file of the run, for messages.

        Parameters
        ----------
        name : str
            File name in the run's folder.
        """
        return self._store.location(self.key(name))

    def put(self, name: str, data: bytes) -> None:
        """Write a file of the run.

        Parameters
        ----------
        name : str
            File name in the run's folder.
        data : bytes
            Its content.
        """
        self._store.put(self.key(name), data)

    def get(self, name: str) -> bytes | None:
        """Read a file of the run.

        Parameters
        ----------
        name : str
            File name in the run's folder.

        Returns
        -------
        bytes or None
            None if the file does not exist.
        """
        return get_or_none(self._store, self.key(name))

    def save_checkpoint(
        self, epoch: int, step: int, data: bytes, metrics: dict[str, float], batches: int = 0
    ) -> None:
        """Write a checkpoint and then its record.

        Parameters
        ----------
        epoch, step, batches : int, ≥ 0
            Progress; see ``CheckpointRecord``.
        data : bytes
            The checkpoint's content.
        metrics : dict of str to float
            The epoch's metrics by name.
        """
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
        """List the complete checkpoints at the end of an epoch.

        Returns
        -------
        list of CheckpointRecord
            By epoch.
        """
        return [record for record in self.list_all_checkpoints() if not record.batches]

    def list_all_checkpoints(self) -> list[CheckpointRecord]:
        """List every complete checkpoint, including interim ones.

        A corrupt record does not count: the run writes checkpoint and record again.

        Returns
        -------
        list of CheckpointRecord
            By step. Training resumes from the last one.
        """
        records = (
            read_checkpoint_record(self._store, key)
            for key in self._store.list_keys(self.key("checkpoints"))
            if key.endswith(".json")
        )
        return sorted(filter(None, records), key=lambda record: record.step)

    def get_record(self, epoch: int) -> CheckpointRecord:
        """Return the record of the checkpoint at the end of an epoch.

        Parameters
        ----------
        epoch : int, ≥ 1
            The epoch.

        Returns
        -------
        CheckpointRecord
            The record.

        Raises
        ------
        NotFoundError
            If no complete checkpoint exists for the epoch.
        """
        name = checkpoint_name(epoch)
        record = read_checkpoint_record(self._store, self.key(record_name(name)))
        if record is None:
            raise NotFoundError(
                f"Checkpoint {self.location(name)} does not exist. Choose another one."
            )
        return record

    def read_checkpoint(self, record: CheckpointRecord) -> bytes:
        """Read a checkpoint and verify its bytes.

        Parameters
        ----------
        record : CheckpointRecord
            Record of the checkpoint.

        Returns
        -------
        bytes
            The checkpoint's content.

        Raises
        ------
        NotFoundError
            If the bytes do not exist.
        CorruptObjectError
            If the bytes differ from those that were written.
        """
        data = self._store.get(self.key(record.name))
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise CorruptObjectError(
                f"{self.location(record.name)} fails its SHA-256 check. Train again to resume from "
                "the previous checkpoint."
            )
        return data

    def invalidate(self, record: CheckpointRecord) -> None:
        """Delete a record, so that its checkpoint does not count as complete.

        Parameters
        ----------
        record : CheckpointRecord
            Record of the checkpoint.
        """
        self._store.delete(self.key(record_name(record.name)))
        if record.batches:
            # No later checkpoint will overwrite these bytes.
            self._store.delete(self.key(record.name))


def read_checkpoint_record(store: KeyValueStore, key: str) -> CheckpointRecord | None:
    """Read the record of a checkpoint.

    Parameters
    ----------
    store : KeyValueStore
        The store.
    key : str
        Key of the record.

    Returns
    -------
    CheckpointRecord or None
        None if the record is corrupt or does not exist.
    """
    try:
        return CheckpointRecord.model_validate_json(store.get(key))
    except (ValidationError, CorruptObjectError, NotFoundError):
        return None


def list_checkpoints(store: ObjectStore, dataset: str) -> dict[str, list[int]]:
    """List the complete checkpoints at the end of an epoch, of all runs of a data set.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.

    Returns
    -------
    dict of str to list of int
        Epochs in ascending order by run. Runs are ordered by the time of their last checkpoint.
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
    """Check whether any run of a data set has a complete checkpoint.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    """
    return any(
        "/checkpoints/" in key and key.endswith(".json")
        for key in store.list_keys(keys.runs_folder(dataset))
    )


def checkpoint_name(epoch: int) -> str:
    """Return the file name of an epoch's checkpoint in its run's folder."""
    return f"checkpoints/epoch-{epoch:04d}.pt"


def sample_name(epoch: int) -> str:
    """Return the file name of an epoch's sample grid in its run's folder."""
    return f"samples/epoch-{epoch:04d}.jpg"


def sketches_name(epoch: int) -> str:
    """Return the file name of an epoch's grid of hand-drawn sketches in its run's folder."""
    return f"samples/sketches-{epoch:04d}.jpg"


def record_name(checkpoint: str) -> str:
    """Return the name or key of a checkpoint's record, given that of its bytes.

    Examples
    --------
    >>> record_name("checkpoints/epoch-0004.pt")
    'checkpoints/epoch-0004.json'
    """
    return checkpoint.removesuffix(".pt") + ".json"
