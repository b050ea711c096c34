"""Hand-drawn sketches of a data set: evaluation inputs that are not used for training."""

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
    """Load sketches from a path, a prepared data set, or the data set's own sketches.

    Parameters
    ----------
    store : ObjectStore
        Store with the prepared data sets.
    dataset : DatasetConfig
        Data set whose own sketches are loaded if ``path`` is empty.
    path : str
        Folder or archive; else the name of a prepared data set whose pictures are sketches. ""
        for the data set's own sketches.
    limit : int, 1 or more
        Maximum number of sketches, evenly spaced.

    Returns
    -------
    dict of str to ndarray
        Sketches by path, uint8 H×W×3 RGB of any size.

    Raises
    ------
    SourceError
        If the path is missing or holds no picture, or if a sketch cannot be decoded.
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
    """Load the source pictures of a pair set."""
    raw = str(read_settings(store, name, pairs).get("raw"))
    rows = rows_from_parquet(store.get(keys.raw_index(name, raw)))
    accepted = [row for row in rows if row.status == "accepted"]
    sketches = {}
    for index in _spread_indices(len(accepted), limit):
        row = accepted[index]
        shard = f"{keys.raw_folder(name, raw)}/{keys.shard_name(row.shard)}"
        assert row.offset is not None and row.size is not None, "accepted rows have an offset"
        data = read_member(store, shard, row.offset, row.size)
        sketches[row.source_path] = decode_picture(data, row.source_path, _PAPER_RGB, max_pixels)
    return sketches


def _spread_indices(count: int, limit: int) -> list[int]:
    indices: list[int] = np.linspace(0, count - 1, min(limit, count)).round().astype(int).tolist()
    return indices


def read_sketches(dataset: DatasetConfig, limit: int = 8) -> dict[str, NDArray[np.uint8]]:
    """Read the sketches of a data set.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set.
    limit : int, 1 or more
        Maximum number of sketches. Of more, evenly spaced ones along the sorted paths are read:
        the same at every call.

    Returns
    -------
    dict of str to ndarray
        Sketches by path, sorted: uint8 H×W×3 RGB of any size, transparency on white. Empty if the
        data set has no sketches.

    Raises
    ------
    SourceError
        If the folder or archive is missing or holds no picture, or if a sketch cannot be decoded.
    """
    if dataset.sketches is None:
        return {}
    source = open_path(Path(dataset.sketches))
    names = sorted(filter(is_picture_name, source.names()))
    if not names:
        raise SourceError(f"{dataset.name}: sketches: {dataset.sketches} holds no picture.")
    selected = {names[index] for index in _spread_indices(len(names), limit)}
    sketches: dict[str, NDArray[np.uint8]] = {}
    for file in source.files():
        if file.path in selected:
            try:
                sketches[file.path] = decode_picture(
                    file.read(), file.path, _PAPER_RGB, dataset.max_pixels
                )
            except RejectedPicture as error:
                raise SourceError(
                    f"{dataset.name}: sketches: {file.path} in {dataset.sketches} cannot be used: "
                    f"{error}. Remove it."
                ) from error
    return dict(sorted(sketches.items()))
