"""What is found out about a source and HED before a flow is started."""

from pathlib import Path

from cli.console import err
from config.errors import InputError
from config.settings import get_settings


def local_folder(folder: str) -> Path:
    """Return where an export goes; InputError for what is no folder of this machine."""
    if "://" in folder:
        raise InputError(f"{folder}: an export goes into a folder of this machine. Name one.")
    return Path(folder)


def absolute(source: str) -> str:
    """Return a path so that it holds in any folder, and a name as it is."""
    from sources import load_catalogue

    path = Path(source).expanduser()
    is_path = path.exists() and source not in load_catalogue()
    return str(path.resolve()) if is_path else source


def check_hed(threshold: float | None) -> None:
    """Meet a wrong runner, engine or weights file before Prefect starts; say what auto takes."""
    from flows.runners import check_runner
    from hed import choose_engine
    from tasks.detector import load

    check_runner()

    settings = get_settings()
    # Kept for the flow, which asks for the same.
    weights = None if settings.weights is None else load(settings.weights)
    if weights is not None:
        weights.threshold_or(threshold)
    name, why = choose_engine(settings.engine, weights)
    if settings.engine == "auto":
        err.print(f"engine: {name} ({why})")
