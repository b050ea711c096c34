"""The checkpoint registry: training runs and their checkpoints in the store."""

import hashlib

from pydantic import BaseModel, ConfigDict, ValidationError

from errors import IntegrityError
from storage import keys
from storage.store import ObjectStore


class CheckpointRecord(BaseModel):
    """What is known of one checkpoint; written after its bytes, so it marks them complete.

    Attributes
    ----------
    epoch : epochs done, from 1.
    step : generator steps done.
    sha256 : of the checkpoint's bytes (hex).
    metrics : the epoch's figures by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int
    step: int
    sha256: str
    metrics: dict[str, float]


class Run:
    """One training run's folder in the store.

    Parameters
    ----------
    store : the store.
    dataset : data set that the run is for.
    run : the run's name.
    """

    def __init__(self, store: ObjectStore, dataset: str, run: str) -> None:
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
        key = self.key(name)
        return self._store.get(key) if self._store.exists(key) else None

    def put_checkpoint(self, epoch: int, step: int, data: bytes, metrics: dict[str, float]) -> None:
        """Write a checkpoint and then its record."""
        self.put(checkpoint_name(epoch), data)
        record = CheckpointRecord(
            epoch=epoch, step=step, sha256=hashlib.sha256(data).hexdigest(), metrics=metrics
        )
        self.put(_record_name(epoch), record.model_dump_json().encode())

    def checkpoints(self) -> list[CheckpointRecord]:
        """Return the records of every complete checkpoint, by epoch.

        Raises
        ------
        IntegrityError
            If a record cannot be read.
        """
        records = []
        for key in self._store.list(self.key("checkpoints")):
            if key.endswith(".json"):
                try:
                    records.append(CheckpointRecord.model_validate_json(self._store.get(key)))
                except ValidationError:
                    raise IntegrityError(
                        f"{self._store.location(key)} is damaged. Delete it and run again."
                    ) from None
        return sorted(records, key=lambda record: record.epoch)

    def get_checkpoint(self, record: CheckpointRecord) -> bytes:
        """Return a checkpoint's bytes, checked.

        Raises
        ------
        IntegrityError
            If they are not what was written.
        """
        name = checkpoint_name(record.epoch)
        data = self._store.get(self.key(name))
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise IntegrityError(
                f"{self.location(name)} fails its SHA-256 check. Delete "
                f"{self.location(_record_name(record.epoch))} to go on from the one before."
            )
        return data


def has_checkpoint(store: ObjectStore, dataset: str) -> bool:
    """Tell whether any run of a data set has a complete checkpoint."""
    return any(
        "/checkpoints/" in key and key.endswith(".json")
        for key in store.list(keys.runs_folder(dataset))
    )


def checkpoint_name(epoch: int) -> str:
    """Return a checkpoint's file name in its run's folder."""
    return f"checkpoints/epoch-{epoch:04d}.pt"


def sample_name(epoch: int) -> str:
    """Return a sample grid's file name in its run's folder."""
    return f"samples/epoch-{epoch:04d}.jpg"


def _record_name(epoch: int) -> str:
    return f"checkpoints/epoch-{epoch:04d}.json"
