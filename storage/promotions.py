"""The pointer to the checkpoint that is served, with its history."""

from contextlib import suppress

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from config.errors import ConflictError, NotFoundError, StorageError
from storage import keys
from storage.gc_lock import ensure_not_collected
from storage.json_objects import read_json
from storage.runs import Run, checkpoint_name, record_name
from storage.store import ObjectStore, get_or_none

WEIGHTS_NAME, ONNX_NAME = "generator.safetensors", "generator.onnx"

# Number of earlier promotions in the history. Their files are retained.
MAX_HISTORY = 50


class Promotion(BaseModel):
    """A checkpoint that was chosen to be served.

    Attributes
    ----------
    title : str
        Title of the data set, for people.
    run : str
        Name of the run.
    epoch : int
        Epoch of the checkpoint.
    sha256 : str
        SHA-256 (hex) of the checkpoint's bytes.
    export : str
        Name of the export's folder, 16 hexadecimal digits; see ``storage.promoted_files``.
    weights, network : str
        SHA-256 (hex) of the generator as safetensors and as ONNX.
    examples : int, ≥ 0
        Number of example drawings with their generated pictures.
    note : str
        Why the checkpoint was chosen.
    by : str
        Who chose it.
    at : datetime.datetime, with time zone
        When it was chosen.
    votes : str or None
        Key of the votes that decided the choice; None without votes.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    title: str
    run: str
    epoch: int
    sha256: str
    export: str = Field(pattern=r"^[0-9a-f]{16}$")
    weights: str
    network: str
    examples: int = Field(ge=0)
    note: str = ""
    by: str = ""
    at: AwareDatetime
    votes: str | None = None

    @property
    def checkpoint(self) -> str:
        """The checkpoint as ``RUN/EPOCH``."""
        return f"{self.run}/{self.epoch}"


class Promoted(Promotion):
    """Content of ``promoted.json``: what is served now, and what was served before.

    Attributes
    ----------
    previous : tuple of Promotion
        Earlier promotions, the most recent first; at most ``MAX_HISTORY``.
    """

    previous: tuple[Promotion, ...] = Field(default=(), max_length=MAX_HISTORY)


def read_promoted(store: ObjectStore, dataset: str) -> Promoted | None:
    """Read the pointer to the checkpoint that is served.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.

    Returns
    -------
    Promoted or None
        None if no checkpoint was promoted.

    Raises
    ------
    IntegrityError
        If the pointer cannot be read.
    """
    return read_json(store, keys.promoted(dataset), Promoted, "promote a checkpoint again")


def list_promoted_datasets(store: ObjectStore) -> list[str]:
    """List the data sets that have a promoted checkpoint.

    Parameters
    ----------
    store : ObjectStore
        The store.

    Returns
    -------
    list of str
        Names in ascending order.
    """
    keys_in_parts = (key.split("/") for key in store.list_keys(keys.MODELS_FOLDER))
    return [parts[1] for parts in keys_in_parts if parts[2:] == [keys.PROMOTED_NAME]]


def swap_promoted(
    store: ObjectStore, dataset: str, promotion: Promotion, previous: Promoted | None
) -> Promoted:
    """Point at another checkpoint, unless the pointer has moved meanwhile, and extend the history.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    promotion : Promotion
        What to point at.
    previous : Promoted or None
        What the pointer named when the choice was made; None for no pointer.

    Returns
    -------
    Promoted
        The new content of the pointer.

    Raises
    ------
    ConflictError
        If another process moved the pointer meanwhile, even to the same checkpoint: it is not
        changed then. Also if `icanvas gc` is deleting the checkpoint or its files: the previous
        pointer, if any, is restored then.
    NotFoundError
        If the checkpoint or its files do not exist, or were deleted meanwhile; the previous pointer
        is restored then.
    """
    key = keys.promoted(dataset)
    run, name = Run(store, dataset, promotion.run), checkpoint_name(promotion.epoch)
    required_keys = [keys.export_card(dataset, promotion.export), *export_files(dataset, promotion)]
    paths = [keys.export_folder(dataset, promotion.export)]
    served_before = () if previous is None else (previous, *previous.previous)
    if promotion.export not in {old.export for old in served_before}:
        # Of an earlier promotion, gc may have left only the exported files, which suffice.
        required_keys.append(run.key(record_name(name)))
        paths.append(run.key(name))
    _ensure_stored(store, paths, required_keys)
    content = get_or_none(store, key)
    if read_promoted(store, dataset) != previous:
        raise ConflictError(f"{store.location(key)} was changed by another process. Run again.")
    promoted = Promoted(
        **promotion.model_dump(exclude={"previous"}), previous=_extend_history(previous, promotion)
    )
    new_content = promoted.model_dump_json(indent=2).encode()
    store.compare_and_swap(key, new_content, content)
    try:
        # `icanvas gc` skips the checkpoint from now on, but may have deleted it before.
        _ensure_stored(store, paths, required_keys)
    except StorageError:
        if content is not None:
            with suppress(ConflictError):
                store.compare_and_swap(key, content, new_content)
        raise
    return promoted


def export_files(dataset: str, promotion: Promotion) -> list[str]:
    """Return the keys of a promotion's exported files, without the card.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    promotion : Promotion
        The promotion.

    Returns
    -------
    list of str
        Keys of the generator's files and of the examples.
    """
    folder = keys.export_folder(dataset, promotion.export)
    examples = [
        example_name(number, part)
        for number in range(promotion.examples)
        for part in ("drawing", "picture")
    ]
    return [f"{folder}/{name}" for name in (WEIGHTS_NAME, ONNX_NAME, *examples)]


def example_name(number: int, part: str) -> str:
    """Return the file name of an example's image in the export's folder.

    Parameters
    ----------
    number : int, ≥ 0
        Number of the example.
    part : {'drawing', 'picture'}
        Which image.
    """
    return f"examples/{number}-{part}.png"


def _extend_history(previous: Promoted | None, promotion: Promotion) -> tuple[Promotion, ...]:
    """Return the earlier promotions, each export once, so that a rollback never leads to itself."""
    if previous is None:
        return ()
    last = Promotion(**previous.model_dump(exclude={"previous"}))
    others = (old for old in (last, *previous.previous) if old.export != promotion.export)
    return tuple(others)[:MAX_HISTORY]


def _ensure_stored(store: ObjectStore, paths: list[str], required_keys: list[str]) -> None:
    # In this order: gc deletes the markers of completeness before it releases its lock.
    for path in paths:
        ensure_not_collected(store, path)
    for key in required_keys:
        if not store.exists(key):
            raise NotFoundError(f"{store.location(key)} does not exist. Choose another checkpoint.")
