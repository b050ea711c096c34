"""Lookup of prepared data sets for a training run."""

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
    """Return a data set and its current pair set.

    Parameters
    ----------
    store : ObjectStore
        Store with the pair sets.
    name_or_path : str
        Catalogue name, path, or name under which a folder or archive was prepared.
    name : str or None
        Name for a folder or archive, instead of the one derived from its path.

    Returns
    -------
    dataset : DatasetConfig
        The data set.
    current : CurrentPairs or None
        The current pair set; None if the data set is not prepared.

    Raises
    ------
    InputError
        If the pair set under the path's name was made from a different path.
    SourceError
        If no prepared data set, catalogue entry or path has this name.
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
    """Read the current pair set of a data set, and check that it was made from the same source.

    The source of a catalogue entry is not checked: its path differs between checkouts.

    Parameters
    ----------
    store : ObjectStore
        Store with the pair sets.
    dataset : DatasetConfig
        The data set.

    Returns
    -------
    CurrentPairs or None
        The current pair set; None if the data set is not prepared.

    Raises
    ------
    InputError
        If the pair set under this name was made from a different folder or archive.
    """
    current = read_current(store, dataset.name)
    if current is None or current.source == dataset.origin:
        return current
    if dataset.name not in load_catalogue():
        raise InputError(
            f"The pairs named {dataset.name!r} were made from {current.source}, not from "
            f"{dataset.origin}. Choose another name with --name."
        )
    return current
