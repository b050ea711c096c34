"""The pointer to a data set's checkpoint that is served."""

from contextlib import suppress

from pydantic import BaseModel, ConfigDict

from errors import ConflictError, NotFoundError, StorageError
from storage import keys
from storage.announcement import check_stays
from storage.records import read_record
from storage.registry import Run, checkpoint_name, record_name
from storage.store import ObjectStore, get_or_none


class Promoted(BaseModel):
    """Content of ``promoted.json``: the checkpoint that is served.

    Attributes
    ----------
    run, epoch : which one.
    sha256 : of its bytes (hex).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    epoch: int
    sha256: str


def read_promoted(store: ObjectStore, dataset: str) -> Promoted | None:
    """Return the pointer to a data set's checkpoint that is served; None where none was promoted.

    Raises
    ------
    IntegrityError
        If the pointer cannot be read.
    """
    return read_record(store, keys.promoted(dataset), Promoted, "promote a checkpoint again")


def swap_promoted(
    store: ObjectStore, dataset: str, chosen: Promoted, before: Promoted | None
) -> None:
    """Point at another checkpoint.

    Parameters
    ----------
    store, dataset : which pointer.
    chosen : what to point at.
    before : what was pointed at when that was chosen; None for nothing.

    Raises
    ------
    ConflictError
        If someone else moved the pointer meanwhile, even to the same: then it stays as they left
        it. Or if `icanvas gc` is removing the checkpoint; then it is put back where there was one.
    NotFoundError
        If there is no such checkpoint.
    """
    key = keys.promoted(dataset)
    run, name = Run(store, dataset, chosen.run), checkpoint_name(chosen.epoch)
    _check_kept(store, run, name)
    content = get_or_none(store, key)
    if read_promoted(store, dataset) != before:
        raise ConflictError(
            f"{store.location(key)} was changed by someone else meanwhile. Run again."
        )
    after = chosen.model_dump_json().encode()
    store.compare_and_swap(key, after, content)
    try:
        # From now on `icanvas gc` leaves it alone; until now it may have removed it.
        _check_kept(store, run, name)
    except StorageError:
        if content is not None:
            with suppress(ConflictError):
                store.compare_and_swap(key, content, after)
        raise


def _check_kept(store: ObjectStore, run: Run, name: str) -> None:
    # In this order: a record goes before the announcement does.
    check_stays(store, run.key(name))
    if not store.exists(run.key(record_name(name))):
        raise NotFoundError(f"There is no checkpoint {run.location(name)}. Choose another one.")
