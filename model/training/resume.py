"""A run's identity in the store: its name, its metadata, and resuming from its checkpoints."""

import json
import platform
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch

from config.errors import CorruptObjectError, IntegrityError, NotFoundError
from config.recipe import Recipe
from model.export.card import RunMetadata
from model.training import tensorboard
from model.training.checkpoint import TrainingState, init_state, restore_state
from model.training.distributed import SINGLE_PROCESS, DistributedContext
from storage import ObjectStore
from storage.fingerprint import fingerprint
from storage.json_objects import read_json
from storage.runs import CheckpointRecord, Run

TRAINING_FORMAT = 3


def compute_run_name(pairs: str, recipe: Recipe, revision: int = 0) -> str:
    """Return the name of a run, a hash of what it learns from and how.

    Parameters
    ----------
    pairs : str
        Fingerprint of the pair set.
    recipe : Recipe
        With a resolved precision.
    revision : int, default 0
        Number of earlier runs with the same pair set and recipe.

    Returns
    -------
    str
        12 hexadecimal digits.

    Examples
    --------
    >>> compute_run_name("0123456789ab", Recipe())
    'bc34098f3d47'
    """
    fields: dict[str, object] = {
        "format": TRAINING_FORMAT,
        "pairs": pairs,
        "recipe": recipe.fingerprint_fields(),
    }
    return fingerprint(fields | ({"revision": revision} if revision else {}))


def find_run(
    store: ObjectStore, dataset: str, pairs: str, recipe: Recipe, force: bool
) -> tuple[str, Run]:
    """Return the name of the latest run with a pair set and a recipe.

    Parameters
    ----------
    store : ObjectStore
        Holds the runs.
    dataset : str
        Name of the data set.
    pairs : str
        Fingerprint of the pair set.
    recipe : Recipe
        With a resolved precision.
    force : bool
        If the latest run is finished, return the next, which does not exist yet.

    Returns
    -------
    name : str
        The name of the run.
    run : Run
        The run, which may not exist yet.
    """
    revision = 0
    while True:
        name = compute_run_name(pairs, recipe, revision)
        run = Run(store, dataset, name)
        epochs = [record.epoch for record in run.list_checkpoints()]
        finished = bool(epochs) and epochs[-1] >= recipe.epochs
        following = Run(store, dataset, compute_run_name(pairs, recipe, revision + 1))
        if not store.exists(following.key("recipe.json")) and not (force and finished):
            return name, run
        revision += 1


def serialize_metadata(pairs: str, recipe: Recipe, extent: float) -> bytes:
    """Return the content of ``recipe.json``.

    Parameters
    ----------
    pairs : str
        Fingerprint of the pair set.
    recipe : Recipe
        With a resolved precision.
    extent : float
        Median extent of the training drawings, in (0, 1]; see ``compute_median_extent``.

    Returns
    -------
    bytes
        JSON that ``RunMetadata`` reads.
    """
    metadata = {
        "pairs": pairs,
        "recipe": recipe.model_dump(),
        "versions": _collect_versions(),
        "revision": _get_git_revision(),
        "extent": extent,
        "condition": "float (N, 1, S, S) in [0, 1], 0 on lines",
        "picture": "float (N, 3, S, S) RGB in [-1, 1]",
    }
    return json.dumps(metadata, indent=2).encode()


def write_metadata(run: Run, pairs: str, recipe: Recipe, extent: Callable[[], float]) -> None:
    """Write ``recipe.json`` if it is missing or damaged, and update its retention fields.

    The other fields keep the values with which the run began. `icanvas gc` reads the retention
    fields.

    Parameters
    ----------
    run : Run
        The run.
    pairs : str
        Fingerprint of the pair set.
    recipe : Recipe
        With a resolved precision.
    extent : callable
        Returns the median extent of the training drawings; called only if the file is written.
    """
    repair_file(run, "recipe.json", lambda: serialize_metadata(pairs, recipe, extent()))
    metadata = json.loads(run.get("recipe.json") or b"{}")
    if not recipe.retention_fields().items() <= metadata["recipe"].items():
        metadata["recipe"] |= recipe.retention_fields()
        run.put("recipe.json", json.dumps(metadata, indent=2).encode())


def read_metadata(store: ObjectStore, run: Run) -> RunMetadata:
    """Read a run's ``recipe.json``.

    Parameters
    ----------
    store : ObjectStore
        Holds the run.
    run : Run
        The run.

    Returns
    -------
    RunMetadata

    Raises
    ------
    NotFoundError
        If the file is missing.
    IntegrityError
        If it cannot be read.
    """
    key = run.key("recipe.json")
    metadata = read_json(store, key, RunMetadata, "train again")
    if metadata is None:
        raise NotFoundError(f"{store.location(key)} is missing. Train again to write it.")
    return metadata


def _collect_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that training requires, by name.

    Packages that are not installed are left out.
    """
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    declared: list[str] = []
    with suppress(PackageNotFoundError):
        declared = requires("icanvas") or []
    used = [one for one in declared if "extra ==" not in one or "extra == 'train'" in one]
    for name in sorted(re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in used):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _get_git_revision() -> str | None:
    """Return the commit of this checkout, with ``+`` if files differ; None without a checkout."""
    arguments = ("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+")
    try:
        result = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def resume_or_init(
    run: Run, recipe: Recipe, device: torch.device, context: DistributedContext = SINGLE_PROCESS
) -> tuple[TrainingState, dict[str, float]]:
    """Load the latest checkpoint that is intact, or initialize the state.

    Damaged checkpoints are invalidated; training replaces them. Every process gets the same state.

    Parameters
    ----------
    run : Run
        The run.
    recipe : Recipe
        With a resolved precision.
    device : torch.device
        Where the networks are trained.
    context : DistributedContext, optional
        The processes that train together.

    Returns
    -------
    state : TrainingState
        Of the checkpoint, or the initial one.
    metrics : dict of str to float
        Of the checkpoint; empty without one.

    Raises
    ------
    IntegrityError
        If the latest checkpoint does not fit the recipe's networks.
    """
    data, metrics = context.run_on_main(lambda: _read_latest_checkpoint(run))
    if data is None:
        return init_state(recipe, device), metrics
    try:
        return restore_state(data, recipe, device), metrics
    except IntegrityError as error:
        raise IntegrityError(
            f"{run.location('checkpoints')}: {error}. It was written by another version. Move the "
            "run's folder away, or start another run with another seed (--set seed=1)."
        ) from error


def _read_latest_checkpoint(run: Run) -> tuple[bytes | None, dict[str, float]]:
    """Return the bytes and metrics of the latest intact checkpoint; invalidate damaged ones."""
    for record in reversed(run.list_all_checkpoints()):
        data = _read_with_retry(run, record)
        if data is not None:
            return data, record.metrics
        run.invalidate(record)
    return None, {}


def _read_with_retry(run: Run, record: CheckpointRecord) -> bytes | None:
    """Return a checkpoint's bytes; None if it is damaged or missing in two reads."""
    for _ in range(2):
        with suppress(CorruptObjectError, NotFoundError):
            return run.read_checkpoint(record)
    return None


def repair_file(run: Run, name: str, render: Callable[[], bytes]) -> None:
    """Write a file of a run if it is missing, damaged or truncated.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        Of the file in the run's folder.
    render : callable
        Returns the content of the file.
    """
    data = None
    with suppress(CorruptObjectError):
        data = run.get(name)
    if data is None or not _is_complete(name, data):
        run.put(name, render())


def _is_complete(name: str, data: bytes) -> bool:
    """Return whether a file is not truncated; a local folder has no checksums."""
    if name.endswith(".json"):
        with suppress(ValueError):
            return isinstance(json.loads(data), dict)
        return False
    if name.endswith(".jpg"):
        return data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")
    return (
        tensorboard.is_complete_file(data) if name.startswith(tensorboard.EVENTS_FOLDER) else True
    )
