"""Checks of arguments and settings before a flow is started."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import err_console
from config.errors import InputError, SourceError
from config.settings import get_settings

if TYPE_CHECKING:
    from storage import ObjectStore


def check_local_folder(folder: str) -> Path:
    """Return an export's target folder.

    Raises
    ------
    InputError
        If it is a URL and not a folder on this machine.
    """
    if "://" in folder:
        raise InputError(
            f"{folder} is a URL. Exports are written to a local folder: pass its path."
        )
    return Path(folder)


def make_absolute(source: str) -> str:
    """Return an existing path as an absolute one, and a data set's name unchanged."""
    from sources import load_catalogue

    path = Path(source).expanduser()
    is_path = path.exists() and source not in load_catalogue()
    return str(path.resolve()) if is_path else source


def check_hed_settings(threshold: float | None) -> None:
    """Check runner, engine and weights file, and print which engine ``auto`` chooses.

    Parameters
    ----------
    threshold : float or None
        Edge threshold in [0, 1]; None for the weights' default.

    Raises
    ------
    InputError
        If one of them is invalid, or the weights have no default threshold.
    """
    from flows.runners import check_runner
    from hed import choose_engine
    from tasks.detector import load_cached_weights

    check_runner()

    settings = get_settings()
    # Cached for the flow, which loads the same file.
    weights = None if settings.weights is None else load_cached_weights(settings.weights)
    if weights is not None:
        weights.resolve_threshold(threshold)
    name, reason = choose_engine(settings.engine, weights)
    if settings.engine == "auto":
        err_console.print(f"engine: {name} ({reason})")


def check_dataset_exists(store: "ObjectStore", dataset: str) -> None:
    """Check that the store holds files of a data set.

    Raises
    ------
    SourceError
        If it holds none.
    """
    from config.dataset import NAME_PATTERN

    folders = [f"{root}/{dataset}" for root in ("datasets", "models")]
    if not re.fullmatch(NAME_PATTERN, dataset) or not any(
        True for folder in folders for _ in store.list_keys(folder)
    ):
        raise SourceError(
            f"{store.url} holds no data set {dataset}. `icanvas datasets` lists all data sets."
        )
