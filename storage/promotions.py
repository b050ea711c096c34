"""The pointer to what is served of a data set, and what it pointed at before."""

from contextlib import suppress

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from config.errors import ConflictError, NotFoundError, StorageError
from storage import keys
from storage.gc_lock import ensure_not_collected
from storage.json_objects import read_json
from storage.runs import Run, checkpoint_name, record_name
from storage.store import ObjectStore, get_or_none

WEIGHTS_NAME, ONNX_NAME = "generator.safetensors", "generator.onnx"

# How many of the former ones are remembered, and their files kept.
MAX_HISTORY = 50


class Promotion(BaseModel):
    """A checkpoint that was chosen, and by whom.

    Attributes
    ----------
    title : of the data set, for people.
    run, epoch : which checkpoint.
    sha256 : of the checkpoint's bytes (hex).
    export : the folder of its files; see ``storage.promoted_files``.
    weights, network : SHA-256 (hex) of its generator as safetensors and as ONNX.
    examples : how many drawings with their pictures are there.
    note : why, in the words of who chose.
    by : who that was.
    at : when.
    votes : key of the votes that it was chosen by; None without.
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
        """Run and epoch, as a person writes them."""
        return f"{self.run}/{self.epoch}"


class Promoted(Promotion):
    """Content of ``promoted.json``: what is served, and what was before, the newest first."""

    previous: tuple[Promotion, ...] = Field(default=(), max_length=MAX_HISTORY)


def read_promoted(store: ObjectStore, dataset: str) -> Promoted | None:
    """Return the pointer to what is served of a data set; None where nothing was promoted.

    Raises
    ------
    IntegrityError
        If the pointer cannot be read.
    """
    return read_json(store, keys.promoted(dataset), Promoted, "promote a checkpoint again")


def list_promoted_datasets(store: ObjectStore) -> list[str]:
    """Return the names of the data sets of which something is served, sorted."""
    split_keys = (key.split("/") for key in store.list_keys(keys.MODELS_FOLDER))
    return [
        parts_of_key[1] for parts_of_key in split_keys if parts_of_key[2:] == [keys.PROMOTED_NAME]
    ]


def swap_promoted(
    store: ObjectStore, dataset: str, promotion: Promotion, previous: Promoted | None
) -> Promoted:
    """Point at another checkpoint, and remember the one before.

    Parameters
    ----------
    store, dataset : which pointer.
    chosen : what to point at.
    before : what was pointed at when that was chosen; None for nothing.

    Raises
    ------
    ConflictError
        If someone else moved the pointer meanwhile, even to the same: then it stays as they left
        it. Or if `icanvas gc` is removing the checkpoint or its files; then it is put back where
        there was one.
    NotFoundError
        If the files are not there, or the checkpoint went meanwhile; it is put back, too.
    """
    key = keys.promoted(dataset)
    run, name = Run(store, dataset, promotion.run), checkpoint_name(promotion.epoch)
    required_keys = [keys.export_card(dataset, promotion.export), *export_files(dataset, promotion)]
    paths = [keys.export_folder(dataset, promotion.export)]
    served_before = () if previous is None else (previous, *previous.previous)
    if promotion.export not in {old.export for old in served_before}:
        # Of what was served before only the files may be left, and they are enough.
        required_keys.append(run.key(record_name(name)))
        paths.append(run.key(name))
    _ensure_stored(store, paths, required_keys)
    content = get_or_none(store, key)
    if read_promoted(store, dataset) != previous:
        raise ConflictError(
            f"{store.location(key)} was changed by someone else meanwhile. Run again."
        )
    promoted = Promoted(
        **promotion.model_dump(exclude={"previous"}), previous=_extend_history(previous, promotion)
    )
    new_content = promoted.model_dump_json(indent=2).encode()
    store.compare_and_swap(key, new_content, content)
    try:
        # From now on `icanvas gc` leaves it alone; until now it may have removed it.
        _ensure_stored(store, paths, required_keys)
    except StorageError:
        if content is not None:
            with suppress(ConflictError):
                store.compare_and_swap(key, content, new_content)
        raise
    return promoted


def export_files(dataset: str, promotion: Promotion) -> list[str]:
    """Return the keys of a promotion's files, but for the card."""
    folder = keys.export_folder(dataset, promotion.export)
    examples = [
        example_name(number, part)
        for number in range(promotion.examples)
        for part in ("drawing", "picture")
    ]
    return [f"{folder}/{name}" for name in (WEIGHTS_NAME, ONNX_NAME, *examples)]


def example_name(number: int, part: str) -> str:
    """Return the file name of an example's drawing or picture."""
    return f"examples/{number}-{part}.png"


def _extend_history(previous: Promoted | None, promotion: Promotion) -> tuple[Promotion, ...]:
    """Return what was served before, each once: to go back must lead somewhere else."""
    if previous is None:
        return ()
    last = Promotion(**previous.model_dump(exclude={"previous"}))
    others = (one for one in (last, *previous.previous) if one.export != promotion.export)
    return tuple(others)[:MAX_HISTORY]


def _ensure_stored(store: ObjectStore, paths: list[str], required_keys: list[str]) -> None:
    # In this order: what marks something as whole goes before the announcement does.
    for place in paths:
        ensure_not_collected(store, place)
    for key in required_keys:
        if not store.exists(key):
            raise NotFoundError(f"There is no {store.location(key)}. Choose another checkpoint.")
