"""What is found out about a source and HED before a flow is started."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import err_console
from config.errors import InputError, SourceError
from config.settings import get_settings

if TYPE_CHECKING:
    from storage import ObjectStore


def check_local_folder(folder: str) -> Path:
    """Return where an export goes; InputError for what is no folder of this machine."""
    if "://" in folder:
        raise InputError(f"{folder}: an export goes into a folder of this machine. Name one.")
    return Path(folder)


def make_absolute(source: str) -> str:
    """Return a path so that it holds in any folder, and a name as it is."""
    from sources import load_catalogue

    path = Path(source).expanduser()
    is_path = path.exists() and source not in load_catalogue()
    return str(path.resolve()) if is_path else source


def check_hed_settings(threshold: float | None) -> None:
    """Meet a wrong runner, engine or weights file before Prefect starts; say what auto takes."""
    from flows.runners import check_runner
    from hed import choose_engine
    from tasks.detector import load_cached_weights

    check_runner()

    settings = get_settings()
    # Kept for the flow, which asks for the same.
    weights = None if settings.weights is None else load_cached_weights(settings.weights)
    if weights is not None:
        weights.resolve_threshold(threshold)
    name, reason = choose_engine(settings.engine, weights)
    if settings.engine == "auto":
        err_console.print(f"engine: {name} ({reason})")


def check_dataset_exists(store: "ObjectStore", dataset: str) -> None:
    """Raise SourceError unless the store holds files of the data set."""
    from config.dataset import NAME_PATTERN

    folders = [f"{root}/{dataset}" for root in ("datasets", "models")]
    if not re.fullmatch(NAME_PATTERN, dataset) or not any(
        True for folder in folders for _ in store.list_keys(folder)
    ):
        raise SourceError(
            f"{dataset}: {store.url} holds nothing of that name. `icanvas datasets` "
            "lists what there is."
        )
