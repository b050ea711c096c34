"""A data set's drawings by hand: nobody trains on them, they show what a user will meet."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from config.dataset import NAME_PATTERN, DatasetConfig
from config.errors import SourceError
from sources.archives import open_path
from sources.pictures import RejectedPicture, decode_picture, is_picture_name
from storage import ObjectStore, keys
from storage.manifest import rows_from_parquet
from storage.pair_sets import read_current, read_settings
from storage.shards import read_member

_PAPER_RGB = (255, 255, 255)


def load_sketches(
    store: ObjectStore, dataset: DatasetConfig, path: str, limit: int
) -> dict[str, NDArray[np.uint8]]:
    """Return the drawings that a person means, as ``read_sketches`` does.

    Parameters
    ----------
    store : holds prepared sets.
    dataset : whose drawings are taken where none are given.
    given : a folder or archive; else the name of a set whose pictures, in the store, are drawings.
        Empty for the data set's own.
    most : as many are taken evenly.

    Raises
    ------
    SourceError
        If there are none, or one of them is no picture.
    """
    if not path:
        return read_sketches(dataset, limit)
    if not Path(path).expanduser().exists() and re.fullmatch(NAME_PATTERN, path):
        current = read_current(store, path)
        if current is not None:
            return _load_from_store(store, path, current.fingerprint, limit, dataset.max_pixels)
    return read_sketches(dataset.model_copy(update={"sketches": path}), limit)


def _load_from_store(
    store: ObjectStore, name: str, pairs: str, limit: int, max_pixels: int
) -> dict[str, NDArray[np.uint8]]:
    """Return pictures as they were acquired for a pair set."""
    raw = str(read_settings(store, name, pairs).get("raw"))
    rows = rows_from_parquet(store.get(keys.raw_index(name, raw)))
    there = [row for row in rows if row.status == "accepted"]
    found = {}
    for place in _spread_indices(len(there), limit):
        row = there[place]
        shard = f"{keys.raw_folder(name, raw)}/{keys.shard_name(row.shard)}"
        assert row.offset is not None and row.size is not None, "what was accepted has a place"
        data = read_member(store, shard, row.offset, row.size)
        found[row.source_path] = decode_picture(data, row.source_path, _PAPER_RGB, max_pixels)
    return found


def _spread_indices(count: int, limit: int) -> list[int]:
    places: list[int] = np.linspace(0, count - 1, min(limit, count)).round().astype(int).tolist()
    return places


def read_sketches(dataset: DatasetConfig, limit: int = 8) -> dict[str, NDArray[np.uint8]]:
    """Return drawings of a data set by their path, in its order; none where it has none.

    Where there are more than ``most``, as many are taken evenly along the sorted paths: the same
    ones every time.

    Returns
    -------
    dict
        uint8 H×W×3 RGB of any size, transparency on white.

    Raises
    ------
    SourceError
        If they are missing, or one of them is no picture.
    """
    if dataset.sketches is None:
        return {}
    source = open_path(Path(dataset.sketches))
    names = sorted(filter(is_picture_name, source.names()))
    if not names:
        raise SourceError(f"{dataset.name}: sketches: {dataset.sketches} holds no picture.")
    taken = {names[place] for place in _spread_indices(len(names), limit)}
    found: dict[str, NDArray[np.uint8]] = {}
    for file in source.files():
        if file.path in taken:
            try:
                found[file.path] = decode_picture(
                    file.read(), file.path, _PAPER_RGB, dataset.max_pixels
                )
            except RejectedPicture as error:
                raise SourceError(
                    f"{dataset.name}: sketches: {file.path} in {dataset.sketches} cannot be used: "
                    f"{error}. Take it out."
                ) from error
    return dict(sorted(found.items()))
