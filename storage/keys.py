"""The layout of the store: every key is made here, and what a key may be is told here."""

from config.errors import StorageError

# What a store keeps for itself carries this prefix: writes in progress, a lock. No key may.
PRIVATE_PREFIX = ".icanvas-"

# Folder of every training run and of what is served.
MODELS_FOLDER = "models"

# File name of the pointer to what is served.
PROMOTED_NAME = "promoted.json"

# What `icanvas gc` writes for the time that it runs.
_GC_FOLDER = "gc"


def check_key(key: str) -> str:
    """Return the key if it is a plain relative path.

    Raises
    ------
    StorageError
        If it is absolute, climbs, has an empty or private name, a backslash, a NUL or a lone
        surrogate.
    """
    has_plain_names = all(
        part not in ("", ".", "..") and not part.startswith(PRIVATE_PREFIX)
        for part in key.split("/")
    )
    if not has_plain_names or any(
        character in "\\\0" or "\ud800" <= character <= "\udfff" for character in key
    ):
        raise StorageError(f"{key!r} is not a key: a relative path with plain names is.")
    return key


def raw_folder(dataset: str, fingerprint: str) -> str:
    """Folder of one raw set."""
    return f"datasets/{dataset}/raw/{fingerprint}"


def raw_index(dataset: str, fingerprint: str) -> str:
    """Index of one raw set; it is written last and so marks it complete."""
    return f"{raw_folder(dataset, fingerprint)}/index.parquet"


def raw_origin(dataset: str, fingerprint: str) -> str:
    """Where one raw set's files came from."""
    return f"{raw_folder(dataset, fingerprint)}/origin.json"


def latest_origin(dataset: str) -> str:
    """Where the files came from that were acquired last."""
    return f"datasets/{dataset}/raw/origin.json"


def license_acceptance(dataset: str) -> str:
    """Record that the licence of a data set was accepted."""
    return f"datasets/{dataset}/licence.json"


def all_pairs_folder(dataset: str) -> str:
    """Folder of all pair sets of a data set."""
    return f"datasets/{dataset}/pairs"


def pairs_folder(dataset: str, fingerprint: str) -> str:
    """Folder of one pair set."""
    return f"{all_pairs_folder(dataset)}/{fingerprint}"


def manifest(dataset: str, fingerprint: str) -> str:
    """Manifest of one pair set; it is written last and so marks it published."""
    return f"{pairs_folder(dataset, fingerprint)}/manifest.parquet"


def strokes_folder(dataset: str, fingerprint: str) -> str:
    """Folder of what a pair set's drawings were traced to; another way of tracing is another."""
    return f"{pairs_folder(dataset, fingerprint)}/strokes-1"


def strokes(dataset: str, fingerprint: str, split: str, shard: int) -> str:
    """Key of the strokes that one shard's drawings were traced to."""
    return f"{strokes_folder(dataset, fingerprint)}/{split}-{shard:05d}.bin"


def pair_settings(dataset: str, fingerprint: str) -> str:
    """Key of a pair set's settings: what determined its bytes."""
    return f"{pairs_folder(dataset, fingerprint)}/settings.json"


def current_pairs(dataset: str) -> str:
    """Pointer to the pair set in use."""
    return f"{all_pairs_folder(dataset)}/current.json"


def calibration_folder(dataset: str, fingerprint: str) -> str:
    """Folder of one threshold sweep."""
    return f"datasets/{dataset}/calibration/{fingerprint}"


def runs_folder(dataset: str) -> str:
    """Folder of all training runs of a data set."""
    return f"{MODELS_FOLDER}/{dataset}"


def run_folder(dataset: str, run: str) -> str:
    """Folder of one training run."""
    return f"{runs_folder(dataset)}/{run}"


def promoted(dataset: str) -> str:
    """Pointer to the checkpoint that is served."""
    return f"{runs_folder(dataset)}/{PROMOTED_NAME}"


def export_folder(dataset: str, export: str) -> str:
    """Folder of the files of a promoted checkpoint."""
    return f"{runs_folder(dataset)}/promoted/{export}"


def export_card(dataset: str, export: str) -> str:
    """Card of such files; it is written last and so marks them complete."""
    return f"{export_folder(dataset, export)}/card.json"


def votes(dataset: str, digest: str) -> str:
    """Key of the votes that a checkpoint was chosen by."""
    return f"{runs_folder(dataset)}/votes/{digest}.json"


def archived_drawing(dataset: str, day: str, name: str) -> str:
    """Drawing that someone made for a model, or its picture; only where the server keeps them."""
    return f"drawings/{dataset}/{day}/{name}.png"


def comparison_folder(dataset: str, fingerprint: str) -> str:
    """Folder of one comparison of a data set's checkpoints."""
    return f"{runs_folder(dataset)}/comparisons/{fingerprint}"


def gc_lock() -> str:
    """Announcement of what is removed; it is there only while something is."""
    return f"{_GC_FOLDER}/removing.json"


def gc_clock() -> str:
    """Object whose age is the store's time; it is there for a moment."""
    return f"{_GC_FOLDER}/clock"


def shard_name(number: int, split: str | None = None) -> str:
    """File name of a shard: ``00003.tar``, or ``train-00003.tar`` for one split's pairs."""
    return f"{number:05d}.tar" if split is None else f"{split}-{number:05d}.tar"


def part_name(number: int) -> str:
    """File name of the rows of one finished shard; it is written last and so marks it done."""
    return f"parts/{number:05d}.parquet"
