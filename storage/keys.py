"""The layout of the store: functions that return every key, and the check of what a key may be.

docs/data.md lists all keys. ``dataset`` is always the name of a data set, ``fingerprint`` a name of
12 hexadecimal digits (see ``storage.fingerprint``). Folders have no trailing ``/``.
"""

from config.errors import StorageError

# Names of the store's own files, such as temporary files and locks. No key may contain one.
PRIVATE_PREFIX = ".icanvas-"

# Folder of all training runs and promotions.
MODELS_FOLDER = "models"

# File name of the pointer to the checkpoint that is served.
PROMOTED_NAME = "promoted.json"

# Folder of the objects that exist only while `icanvas gc` runs.
_GC_FOLDER = "gc"


def check_key(key: str) -> str:
    """Return the key if it is a plain relative path.

    Parameters
    ----------
    key : str
        Any string.

    Returns
    -------
    str
        The key, unchanged.

    Raises
    ------
    StorageError
        If the key is absolute, contains ``..``, an empty name or a name with ``PRIVATE_PREFIX``, or
        contains a backslash, a NUL or a lone surrogate.

    Examples
    --------
    >>> check_key("datasets/cat/raw")
    'datasets/cat/raw'
    """
    has_plain_names = all(
        part not in ("", ".", "..") and not part.startswith(PRIVATE_PREFIX)
        for part in key.split("/")
    )
    if not has_plain_names or any(
        character in "\\\0" or "\ud800" <= character <= "\udfff" for character in key
    ):
        raise StorageError(
            f"{key!r} is not a valid key. Use a relative path without special names."
        )
    return key


def raw_folder(dataset: str, fingerprint: str) -> str:
    """Return the folder of a raw set."""
    return f"datasets/{dataset}/raw/{fingerprint}"


def raw_index(dataset: str, fingerprint: str) -> str:
    """Return the key of a raw set's index, which is written last and so marks the set complete."""
    return f"{raw_folder(dataset, fingerprint)}/index.parquet"


def raw_origin(dataset: str, fingerprint: str) -> str:
    """Return the key of the record of where a raw set's files came from."""
    return f"{raw_folder(dataset, fingerprint)}/origin.json"


def latest_origin(dataset: str) -> str:
    """Return the key of the record of where the most recently acquired files came from."""
    return f"datasets/{dataset}/raw/origin.json"


def license_acceptance(dataset: str) -> str:
    """Return the key of the record that a data set's license was accepted."""
    return f"datasets/{dataset}/licence.json"


def all_pairs_folder(dataset: str) -> str:
    """Return the folder of all pair sets of a data set."""
    return f"datasets/{dataset}/pairs"


def pairs_folder(dataset: str, fingerprint: str) -> str:
    """Return the folder of a pair set."""
    return f"{all_pairs_folder(dataset)}/{fingerprint}"


def manifest(dataset: str, fingerprint: str) -> str:
    """Return the key of a pair set's manifest, which is written last: the set is published then."""
    return f"{pairs_folder(dataset, fingerprint)}/manifest.parquet"


def strokes_folder(dataset: str, fingerprint: str) -> str:
    """Return the folder of the strokes traced from a pair set's drawings.

    The number in the name is the version of the tracing.
    """
    return f"{pairs_folder(dataset, fingerprint)}/strokes-1"


def strokes(dataset: str, fingerprint: str, split: str, shard: int) -> str:
    """Return the key of the strokes traced from the drawings of one shard.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set.
    split : str
        ``train`` or ``val``.
    shard : int, ≥ 0
        Number of the shard.
    """
    return f"{strokes_folder(dataset, fingerprint)}/{split}-{shard:05d}.bin"


def pair_settings(dataset: str, fingerprint: str) -> str:
    """Return the key of a pair set's settings: everything that determined its bytes."""
    return f"{pairs_folder(dataset, fingerprint)}/settings.json"


def current_pairs(dataset: str) -> str:
    """Return the key of the pointer to the pair set in use."""
    return f"{all_pairs_folder(dataset)}/current.json"


def calibration_folder(dataset: str, fingerprint: str) -> str:
    """Return the folder of one threshold sweep."""
    return f"datasets/{dataset}/calibration/{fingerprint}"


def runs_folder(dataset: str) -> str:
    """Return the folder of all training runs of a data set."""
    return f"{MODELS_FOLDER}/{dataset}"


def run_folder(dataset: str, run: str) -> str:
    """Return the folder of a training run."""
    return f"{runs_folder(dataset)}/{run}"


def promoted(dataset: str) -> str:
    """Return the key of the pointer to the checkpoint that is served."""
    return f"{runs_folder(dataset)}/{PROMOTED_NAME}"


def export_folder(dataset: str, export: str) -> str:
    """Return the folder of the files exported from a promoted checkpoint."""
    return f"{runs_folder(dataset)}/promoted/{export}"


def export_card(dataset: str, export: str) -> str:
    """Return the key of an export's model card, which is written last and so marks it complete."""
    return f"{export_folder(dataset, export)}/card.json"


def votes(dataset: str, digest: str) -> str:
    """Return the key of the votes by which a checkpoint was chosen.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    digest : str
        Digest of the votes file.
    """
    return f"{runs_folder(dataset)}/votes/{digest}.json"


def archived_drawing(dataset: str, day: str, name: str) -> str:
    """Return the key of a user's drawing or its picture, which a server may archive.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    day : str
        Date as YYYY-MM-DD.
    name : str
        File name without its suffix.
    """
    return f"drawings/{dataset}/{day}/{name}.png"


def comparison_folder(dataset: str, fingerprint: str) -> str:
    """Return the folder of one comparison of a data set's checkpoints."""
    return f"{runs_folder(dataset)}/comparisons/{fingerprint}"


def gc_lock() -> str:
    """Return the key of the lock of `icanvas gc`, which exists only while it deletes objects."""
    return f"{_GC_FOLDER}/removing.json"


def gc_clock() -> str:
    """Return the key of a short-lived object whose modification time is the store's clock."""
    return f"{_GC_FOLDER}/clock"


def shard_name(number: int, split: str | None = None) -> str:
    """Return the file name of a shard.

    Parameters
    ----------
    number : int, ≥ 0
        Number of the shard.
    split : str, optional
        ``train`` or ``val`` for a shard of pairs; None for a raw shard.

    Examples
    --------
    >>> shard_name(3), shard_name(3, "train")
    ('00003.tar', 'train-00003.tar')
    """
    return f"{number:05d}.tar" if split is None else f"{split}-{number:05d}.tar"


def part_name(number: int) -> str:
    """Return the file name of a shard's rows, which are written last: the shard is done then."""
    return f"parts/{number:05d}.parquet"
