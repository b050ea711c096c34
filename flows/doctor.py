"""Checks of the setup of this machine, each with its result and advice."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import torch

from config.errors import ConflictError, IcanvasError, InputError, IntegrityError, StorageError
from config.settings import count_cores, get_settings
from hed import choose_engine, load_weights
from hed.weights import default_weights_path
from sources import load_catalogue
from sources.fetch.kaggle import describe_credentials
from storage import LocalStore, open_store

# Enough for HED's weights, a data set of some thousand pictures and a few checkpoints.
_MIN_FREE_BYTES = 5 * 2**30


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes
    ----------
    name : str
        What was checked.
    state : {'good', 'note', 'bad'}
        ``note`` means that it works but could be better.
    result : str
        What was found, for people.
    advice : str
        What to do; empty if nothing.
    exit_code : int
        Exit code of the command; 0 unless the state is ``bad``.
    """

    name: str
    state: Literal["good", "note", "bad"]
    result: str
    advice: str = ""
    exit_code: int = 0


def run_checks() -> Iterator[Check]:
    """Yield the result of each check.

    No check uses the network, except for requests to the configured Prefect server and store. No
    check leaves anything behind.

    Yields
    ------
    Check
    """
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("weights", _check_weights),
        ("engine", _check_engine),
        ("runner", _check_runner),
        ("store", _check_store),
        ("disk", _check_disk),
        ("GPU", _check_gpu),
        ("Prefect", _check_prefect),
        ("catalogue", _check_catalogue),
        ("Kaggle", _check_kaggle),
    ]
    for name, check in checks:
        try:
            yield check()
        except IcanvasError as error:
            yield Check(name, "bad", type(error).__name__, str(error), error.exit_code)


def _check_weights() -> Check:
    settings = get_settings()
    path = settings.weights or default_weights_path(settings.cache)
    if settings.weights is None and not path.exists():
        return Check("weights", "note", f"not in {path.parent}", "icanvas weights (55 MB, once)")
    weights = load_weights(settings.weights)
    result = f"{path}, form {weights.format}, SHA-256 {weights.digest[:12]}…"
    return Check("weights", "good", result)


def _check_engine() -> Check:
    settings = get_settings()
    name, reason = choose_engine(settings.engine)
    cores = count_cores()
    result = f"{name} ({reason}), {cores} cores"
    if settings.workers is not None and settings.workers > cores:
        return Check("engine", "note", result, f"set ICANVAS_WORKERS={cores}: more do not help")
    best, reason = choose_engine("auto")
    if name != best:
        return Check("engine", "note", result, f"--engine {best} is faster: {reason}")
    if name == "opencv":
        return Check(
            "engine", "good", result, "pip install -e '.[openvino]' adds a faster one (optional)"
        )
    return Check("engine", "good", result)


def _check_runner() -> Check:
    # Prefect takes seconds to import, and the checks above do not need it.
    from flows.runners import check_runner

    check_runner()
    settings = get_settings()
    where = f" at {settings.runner_address}" if settings.runner_address else ", on this machine"
    return Check("runner", "good", f"{settings.runner}{where}")


def _check_store() -> Check:
    store = open_store(get_settings().store)
    key, content = f"doctor/{os.urandom(8).hex()}", os.urandom(16)
    store.put(key, content)
    if store.get(key) != content:
        raise IntegrityError(f"{store.url} returned other bytes than were written.")
    try:
        # Pointers are swapped by conditional writes. Services that ignore them lose updates.
        store.compare_and_swap(key, content, None)
    except ConflictError:
        pass
    else:
        raise StorageError(
            f"{store.url} ignores If-None-Match, so concurrent writers would overwrite each other. "
            "Use a service that supports conditional writes (docs/storage.md)."
        )
    finally:
        store.delete(key)
    return Check(
        "store", "good", f"{store.url} is readable, writable and supports conditional writes"
    )


def _check_disk() -> Check:
    low_space = []
    folders = {"store": _store_folder(), "cache": get_settings().cache}
    for what, folder in folders.items():
        if folder is None:
            continue
        existing = next(
            folder for folder in (folder, *folder.absolute().parents) if folder.exists()
        )
        free = shutil.disk_usage(existing).free
        if free < _MIN_FREE_BYTES:
            low_space.append(f"{what}: {free / 2**30:.1f} GiB free in {existing}")
    if low_space:
        return Check(
            "disk", "note", "; ".join(low_space), "free some space, or use --store, --cache"
        )
    checked = " and ".join(what for what, place in folders.items() if place is not None)
    return Check("disk", "good", f"over {_MIN_FREE_BYTES >> 30} GiB free for {checked}")


def _store_folder() -> Path | None:
    """Return the folder of the store; None if the store is not on this machine."""
    store = open_store(get_settings().store)
    return Path(store.location("doctor")).parent if isinstance(store, LocalStore) else None


def _check_gpu() -> Check:
    if torch.cuda.is_available():
        return Check("GPU", "good", f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    return Check(
        "GPU",
        "note",
        f"no GPU that torch {torch.__version__} supports",
        "training runs on the CPU: fine for the demo, hours to days for a real data set",
    )


def _check_prefect() -> Check:
    import prefect
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    if not url:
        return Check("Prefect", "good", f"{prefect.__version__}, embedded API (no server needed)")
    try:
        httpx.get(f"{url}/health", timeout=5).raise_for_status()
    except httpx.HTTPError as error:
        return Check(
            "Prefect",
            "bad",
            f"{prefect.__version__}, no answer from {httpx.URL(url).host}: {type(error).__name__}",
            "start it with `prefect server start`, or unset PREFECT_API_URL",
            InputError.exit_code,
        )
    return Check("Prefect", "good", f"{prefect.__version__}, server on {httpx.URL(url).host}")


def _check_catalogue() -> Check:
    return Check("catalogue", "good", f"{len(load_catalogue())} data sets (icanvas datasets)")


def _check_kaggle() -> Check:
    location = describe_credentials()
    if location is not None:
        return Check("Kaggle", "good", f"credentials in {location}")
    return Check(
        "Kaggle",
        "note",
        "no credentials",
        "data sets that require a login need KAGGLE_API_TOKEN (docs/data-sets.md)",
    )
