"""A run's place in the store: found again by what it learns from and how, and taken up."""

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
    """Return the run's name: what it learns from and how, so that the same run is found again."""
    fields: dict[str, object] = {
        "format": TRAINING_FORMAT,
        "pairs": pairs,
        "recipe": recipe.fingerprint_fields(),
    }
    return fingerprint(fields | ({"revision": revision} if revision else {}))


def find_run(
    store: ObjectStore, dataset: str, pairs: str, recipe: Recipe, force: bool
) -> tuple[str, Run]:
    """Return the newest run of these facts and its name; on refresh the next, if it is finished."""
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
    """Return ``recipe.json``: what a run learns from, how, and what its networks take and give.

    ``extent`` is how much of a side the drawings typically take; see ``compute_extent``.
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
    """Write ``recipe.json`` where it is missing or damaged; it tells what the run began with.

    But which checkpoints stay it tells as of now, for `icanvas gc`.

    Parameters
    ----------
    run : which run.
    pairs, recipe, extent : as of ``describe_run``; the extent is asked for where it is needed.
    """
    repair_file(run, "recipe.json", lambda: serialize_metadata(pairs, recipe, extent()))
    metadata = json.loads(run.get("recipe.json") or b"{}")
    if not recipe.retention_fields().items() <= metadata["recipe"].items():
        metadata["recipe"] |= recipe.retention_fields()
        run.put("recipe.json", json.dumps(metadata, indent=2).encode())


def read_metadata(store: ObjectStore, run: Run) -> RunMetadata:
    """Return what a run's ``recipe.json`` tells.

    Raises
    ------
    NotFoundError
        If there is none.
    IntegrityError
        If it cannot be read.
    """
    key = run.key("recipe.json")
    metadata = read_json(store, key, RunMetadata, "train again")
    if metadata is None:
        raise NotFoundError(f"There is no {store.location(key)}. Train again to have it.")
    return metadata


def _collect_versions() -> dict[str, str]:
    """Return the versions of Python and of every package that this one needs, by name."""
    versions, requirements = {"python": platform.python_version(), "torch": torch.__version__}, []
    # Not every environment tells of all.
    with suppress(PackageNotFoundError):
        requirements = [need for need in requires("icanvas") or () if "extra ==" not in need]
    for name in sorted(re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in requirements):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _get_git_revision() -> str | None:
    """Return the commit of this checkout, with ``+`` where files differ from it; None elsewhere."""
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
    """Return the state of the newest checkpoint that is whole, and its metrics.

    What is damaged is passed over, and made anew on the way. Without any checkpoint the state is
    the beginning. Every process of a crew gets the same.

    Raises
    ------
    IntegrityError
        If the newest checkpoint is of networks other than the recipe's.
    """
    data, metrics = context.run_on_main(lambda: _read_latest_checkpoint(run))
    if data is None:
        return init_state(recipe, device), metrics
    try:
        return restore_state(data, recipe, device), metrics
    except IntegrityError as error:
        raise IntegrityError(
            f"{run.location('checkpoints')}: {error}. Another version wrote it: move the run's "
            "folder away, or train with another seed (--set seed=1) for a run of its own."
        ) from error


def _read_latest_checkpoint(run: Run) -> tuple[bytes | None, dict[str, float]]:
    for record in reversed(run.list_all_checkpoints()):
        data = _read_with_retry(run, record)
        if data is not None:
            return data, record.metrics
        run.invalidate(record)
    return None, {}


def _read_with_retry(run: Run, record: CheckpointRecord) -> bytes | None:
    """Return a checkpoint's bytes; None where the store's own are damaged, not only those read."""
    for _ in range(2):
        with suppress(CorruptObjectError, NotFoundError):
            return run.read_checkpoint(record)
    return None


def repair_file(run: Run, name: str, render: Callable[[], bytes]) -> None:
    """Write a file of a run where it is missing, damaged or cut short."""
    data = None
    with suppress(CorruptObjectError):
        data = run.get(name)
    if data is None or not _is_complete(name, data):
        run.put(name, render())


def _is_complete(name: str, data: bytes) -> bool:
    """Tell whether a file is not cut short, as a folder, which has no checksums, may hold it."""
    if name.endswith(".json"):
        with suppress(ValueError):
            return isinstance(json.loads(data), dict)
        return False
    if name.endswith(".jpg"):
        return data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")
    return (
        tensorboard.is_complete_file(data) if name.startswith(tensorboard.EVENTS_FOLDER) else True
    )
