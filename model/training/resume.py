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

from config.errors import DamagedError, IntegrityError, NotFoundError
from config.recipe import Recipe
from model.export.card import RunFacts
from model.training import tensorboard
from model.training.checkpoint import TrainingState, restore_state, start_state
from model.training.distributed import ALONE, Crew
from storage import ObjectStore
from storage.fingerprint import fingerprint
from storage.json_objects import read_record
from storage.runs import CheckpointRecord, Run

TRAINING_FORMAT = 3


def name_run(pairs: str, recipe: Recipe, revision: int = 0) -> str:
    """Return the run's name: what it learns from and how, so that the same run is found again."""
    facts: dict[str, object] = {
        "format": TRAINING_FORMAT,
        "pairs": pairs,
        "recipe": recipe.shaping(),
    }
    return fingerprint(facts | ({"revision": revision} if revision else {}))


def find_run(
    store: ObjectStore, dataset: str, pairs: str, recipe: Recipe, refresh: bool
) -> tuple[str, Run]:
    """Return the newest run of these facts and its name; on refresh the next, if it is finished."""
    revision = 0
    while True:
        name = name_run(pairs, recipe, revision)
        run = Run(store, dataset, name)
        done = [record.epoch for record in run.checkpoints()]
        finished = bool(done) and done[-1] >= recipe.epochs
        following = Run(store, dataset, name_run(pairs, recipe, revision + 1))
        if not store.exists(following.key("recipe.json")) and not (refresh and finished):
            return name, run
        revision += 1


def describe_run(pairs: str, recipe: Recipe, extent: float) -> bytes:
    """Return ``recipe.json``: what a run learns from, how, and what its networks take and give.

    ``extent`` is how much of a side the drawings typically take; see ``drawing_extent``.
    """
    facts = {
        "pairs": pairs,
        "recipe": recipe.model_dump(),
        "versions": _find_versions(),
        "revision": _find_revision(),
        "extent": extent,
        "condition": "float (N, 1, S, S) in [0, 1], 0 on lines",
        "picture": "float (N, 3, S, S) RGB in [-1, 1]",
    }
    return json.dumps(facts, indent=2).encode()


def keep_facts(run: Run, pairs: str, recipe: Recipe, extent: Callable[[], float]) -> None:
    """Write ``recipe.json`` where it is missing or damaged; it tells what the run began with.

    But which checkpoints stay it tells as of now, for `icanvas gc`.

    Parameters
    ----------
    run : which run.
    pairs, recipe, extent : as of ``describe_run``; the extent is asked for where it is needed.
    """
    keep_file(run, "recipe.json", lambda: describe_run(pairs, recipe, extent()))
    facts = json.loads(run.get("recipe.json") or b"{}")
    if not recipe.keeping().items() <= facts["recipe"].items():
        facts["recipe"] |= recipe.keeping()
        run.put("recipe.json", json.dumps(facts, indent=2).encode())


def read_facts(store: ObjectStore, run: Run) -> RunFacts:
    """Return what a run's ``recipe.json`` tells.

    Raises
    ------
    NotFoundError
        If there is none.
    IntegrityError
        If it cannot be read.
    """
    key = run.key("recipe.json")
    facts = read_record(store, key, RunFacts, "train again")
    if facts is None:
        raise NotFoundError(f"There is no {store.location(key)}. Train again to have it.")
    return facts


def _find_versions() -> dict[str, str]:
    """Return the versions of Python and of every package that this one needs, by name."""
    found, needs = {"python": platform.python_version(), "torch": torch.__version__}, []
    # Not every environment tells of all.
    with suppress(PackageNotFoundError):
        needs = [need for need in requires("icanvas") or () if "extra ==" not in need]
    for name in sorted(re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needs):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _find_revision() -> str | None:
    """Return the commit of this checkout, with ``+`` where files differ from it; None elsewhere."""
    asked = ("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+")
    try:
        told = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *asked],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()


def take_up(
    run: Run, recipe: Recipe, device: torch.device, crew: Crew = ALONE
) -> tuple[TrainingState, dict[str, float]]:
    """Return the state of the newest checkpoint that is whole, and its metrics.

    What is damaged is passed over, and made anew on the way. Without any checkpoint the state is
    the beginning. Every process of a crew gets the same.

    Raises
    ------
    IntegrityError
        If the newest checkpoint is of networks other than the recipe's.
    """
    data, metrics = crew.lead(lambda: _read_newest(run))
    if data is None:
        return start_state(recipe, device), metrics
    try:
        return restore_state(data, recipe, device), metrics
    except IntegrityError as error:
        raise IntegrityError(
            f"{run.location('checkpoints')}: {error}. Another version wrote it: move the run's "
            "folder away, or train with another seed (--set seed=1) for a run of its own."
        ) from error


def _read_newest(run: Run) -> tuple[bytes | None, dict[str, float]]:
    for record in reversed(run.all_checkpoints()):
        data = _read_twice(run, record)
        if data is not None:
            return data, record.metrics
        run.forget(record)
    return None, {}


def _read_twice(run: Run, record: CheckpointRecord) -> bytes | None:
    """Return a checkpoint's bytes; None where the store's own are damaged, not only those read."""
    for _ in range(2):
        with suppress(DamagedError, NotFoundError):
            return run.get_checkpoint(record)
    return None


def keep_file(run: Run, name: str, make: Callable[[], bytes]) -> None:
    """Write a file of a run where it is missing, damaged or cut short."""
    data = None
    with suppress(DamagedError):
        data = run.get(name)
    if data is None or not _is_whole(name, data):
        run.put(name, make())


def _is_whole(name: str, data: bytes) -> bool:
    """Tell whether a file is not cut short, as a folder, which has no checksums, may hold it."""
    if name.endswith(".json"):
        with suppress(ValueError):
            return isinstance(json.loads(data), dict)
        return False
    if name.endswith(".jpg"):
        return data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")
    return tensorboard.is_whole(data) if name.startswith(tensorboard.EVENTS) else True
