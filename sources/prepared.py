"""Data sets as a training run finds them: by name, once they are prepared."""

import re
from pathlib import Path

from config.dataset import NAME_PATTERN, DatasetConfig
from config.errors import InputError, SourceError
from sources.catalogue import describe_path, find_dataset, load_catalogue
from sources.options import PrepareOptions
from storage import ObjectStore
from storage.pair_sets import CurrentPairs, read_current


def find_prepared_dataset(
    store: ObjectStore, name_or_path: str, name: str | None = None
) -> tuple[DatasetConfig, CurrentPairs | None]:
    """Return the data set that a user means and its pair set in use; None where there is none.

    Beside what ``find`` takes, the name of a folder or archive that was prepared before does.

    Raises
    ------
    InputError
        If a path is given, but the pair set in use under its name came from another one.
    SourceError
        If nothing of that name is prepared, in the catalogue, or on this machine.
    """
    try:
        dataset = find_dataset(name_or_path, PrepareOptions(name=name))
    except SourceError:
        if not re.fullmatch(NAME_PATTERN, name_or_path):
            raise
        current = read_current(store, name_or_path)
        if current is None:
            raise
        return describe_path(Path(current.source), name_or_path), current
    return dataset, read_current_pairs(store, dataset)


def read_current_pairs(store: ObjectStore, dataset: DatasetConfig) -> CurrentPairs | None:
    """Return the pair set in use, None where there is none; tell folders of one name apart.

    A data set of the catalogue may lie anywhere, as every checkout has its own.

    Raises
    ------
    InputError
        If the pair set in use under this name came from another folder or archive.
    """
    current = read_current(store, dataset.name)
    if current is None or current.source == dataset.origin:
        return current
    if dataset.name not in load_catalogue():
        raise InputError(
            f"The pairs called {dataset.name!r} were made from {current.source}, not from "
            f"{dataset.origin}. Give this one another name with --name."
        )
    return current
