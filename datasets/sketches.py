"""A data set's drawings by hand: nobody trains on them, they show what a user will meet."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.entry import DataSet
from datasets.pictures import RejectedPicture, decode_picture, is_picture_name
from datasets.sources import open_path
from errors import SourceError

_PAPER = (255, 255, 255)


def read_sketches(dataset: DataSet, most: int = 8) -> dict[str, NDArray[np.uint8]]:
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
    places = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    taken = {names[place] for place in places}
    found: dict[str, NDArray[np.uint8]] = {}
    for file in source.files():
        if file.path in taken:
            try:
                found[file.path] = decode_picture(
                    file.read(), file.path, _PAPER, dataset.max_pixels
                )
            except RejectedPicture as error:
                raise SourceError(
                    f"{dataset.name}: sketches: {file.path} in {dataset.sketches} cannot be used: "
                    f"{error}. Take it out."
                ) from error
    return dict(sorted(found.items()))
