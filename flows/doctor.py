"""Is this machine ready? Each check says what it found and what to do about it."""

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
from sources.fetch.kaggle import credentials_place
from storage import LocalStore, open_store

# HED's weights, a data set of some thousand pictures and a few checkpoints fit in this.
_WANTED_BYTES = 5 * 2**30


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes
    ----------
    name : what was looked at.
    state : ``good``, ``note`` (works, could be better) or ``bad``.
    found, advice : for a person; no advice where nothing is to be done.
    exit_code : 0 unless bad.
    """

    name: str
    state: Literal["good", "note", "bad"]
    found: str
    advice: str = ""
    exit_code: int = 0


def check_all() -> Iterator[Check]:
    """Yield every check; none asks the network beyond Prefect's API, and none leaves anything."""
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
    found = f"{path}, form {weights.form}, SHA-256 {weights.digest[:12]}…"
    return Check("weights", "good", found)


def _check_engine() -> Check:
    settings = get_settings()
    name, why = choose_engine(settings.engine)
    cores = count_cores()
    found = f"{name} ({why}), {cores} cores"
    if settings.workers is not None and settings.workers > cores:
        return Check("engine", "note", found, f"ICANVAS_WORKERS={cores} is as many as is useful")
    best, reason = choose_engine("auto")
    if name != best:
        return Check("engine", "note", found, f"--engine {best} is quicker: {reason}")
    if name == "opencv":
        return Check(
            "engine", "good", found, "pip install -e '.[openvino]' brings a quicker one (optional)"
        )
    return Check("engine", "good", found)


def _check_runner() -> Check:
    # Prefect takes seconds to import, and is not needed for the checks above.
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
        raise IntegrityError(f"{store.url} gives back other bytes than it was given.")
    try:
        # Pointers move by this, and a service that ignores the condition would lose one.
        store.compare_and_swap(key, content, None)
    except ConflictError:
        pass
    else:
        raise StorageError(
            f"{store.url} overwrites in spite of If-None-Match: two writers would not notice each "
            "other. Use a service that has conditional writes (docs/storage.md)."
        )
    finally:
        store.delete(key)
    return Check("store", "good", f"{store.url} can be written and read, and heeds conditions")


def _check_disk() -> Check:
    short = []
    places = {"store": _store_folder(), "cache": get_settings().cache}
    for what, place in places.items():
        if place is None:
            continue
        existing = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
        free = shutil.disk_usage(existing).free
        if free < _WANTED_BYTES:
            short.append(f"{what}: {free / 2**30:.1f} GiB free in {existing}")
    if short:
        return Check("disk", "note", "; ".join(short), "free some space, or use --store, --cache")
    checked = " and ".join(what for what, place in places.items() if place is not None)
    return Check("disk", "good", f"over {_WANTED_BYTES >> 30} GiB free for {checked}")


def _store_folder() -> Path | None:
    """Return the store's folder; None where it is no folder of this machine."""
    store = open_store(get_settings().store)
    return Path(store.location("doctor")).parent if isinstance(store, LocalStore) else None


def _check_gpu() -> Check:
    if torch.cuda.is_available():
        return Check("GPU", "good", f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    return Check(
        "GPU",
        "note",
        f"none that torch {torch.__version__} can use",
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
    place = credentials_place()
    if place is not None:
        return Check("Kaggle", "good", f"credentials in {place}")
    return Check(
        "Kaggle",
        "note",
        "no credentials",
        "sets that want a login need KAGGLE_API_TOKEN (docs/data-sets.md)",
    )
