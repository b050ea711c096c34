"""Choosing pictures by the tables that came with them.

DVM-CAR has a table of advertisements (`Ad_table`) and one of pictures (`Image_table`), joined by
the advertisement's number: the first two ``$$`` parts of a picture's. A picture's row and its file
go together by the file's name, which lacks the apostrophes that the row has.
"""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import pandas as pd

from config.errors import InputError, SourceError
from sources.archives import open_path

# What a user calls a column: the table and its name there.
COLUMNS = {
    "body_type": ("Ad_table", "Bodytype"),
    "viewpoint": ("Image_table", "Predicted_viewpoint"),
    "quality": ("Image_table", "Quality_check"),
}


def check_columns(where: Iterable[str]) -> None:
    """Raise InputError unless these are names of ``COLUMNS``."""
    for column in where:
        if column not in COLUMNS:
            raise InputError(f"--where {column}: there is {', '.join(COLUMNS)}.")


def select_names(path: Path, where: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """Return the names of the pictures whose rows fit, as ``plain_name`` makes them.

    Parameters
    ----------
    path : folder or archive that holds the tables as CSV files.
    where : names of ``COLUMNS`` to the values that are wanted in them; case does not matter.

    Raises
    ------
    InputError
        If a column is not one of ``COLUMNS``, or a value never occurs in it.
    SourceError
        If a table or a column of it is not there, or a table cannot be read.
    """
    check_columns(where)
    tables = {COLUMNS[column][0] for column in where}
    pictures = _read(path, "Image_table", ["Image_ID", "Image_name"], where)
    if "Ad_table" in tables:
        adverts = _read(path, "Ad_table", ["Adv_ID"], where).drop_duplicates("Adv_ID")
        pictures["Adv_ID"] = (
            pictures["Image_ID"].str.split("$$", n=2, regex=False).str[:2].str.join("$$")
        )
        pictures = pictures.merge(adverts, on="Adv_ID", how="left")
    fits = pd.Series(True, index=pictures.index)
    for column, wanted in where.items():
        values = pictures[COLUMNS[column][1]].str.strip().str.casefold()
        known = set(values.dropna())
        for value in wanted:
            if value.casefold() not in known:
                raise InputError(
                    f"--where {column}={value}: no picture has that; there is "
                    f"{', '.join(sorted(known))}."
                )
        fits &= values.isin([value.casefold() for value in wanted])
    pictures = pictures[fits]
    return frozenset(normalize_name(name) for name in pictures["Image_name"].dropna())


def normalize_name(path: str) -> str:
    """Return a picture's name as its file and its row have it in common."""
    return PurePosixPath(path).name.replace("'", "")


def _read(
    path: Path, table: str, columns: list[str], where: Mapping[str, tuple[str, ...]]
) -> pd.DataFrame:
    columns = columns + [name for home, name in map(COLUMNS.__getitem__, where) if home == table]
    for file in open_path(path).files():
        if PurePosixPath(file.path).name == f"{table}.csv":
            try:
                frame = pd.read_csv(
                    io.BytesIO(file.read()),
                    dtype=str,
                    # Some headings begin with a blank.
                    usecols=lambda name: name.strip() in columns,
                    skipinitialspace=True,
                    keep_default_na=False,
                    na_values=[""],
                )
            # pandas' own errors, and a text that is not UTF-8, are kinds of ValueError.
            except ValueError as error:
                raise SourceError(f"{path}: {table}.csv cannot be read: {error}.") from error
            frame.columns = frame.columns.str.strip()
            if missing := [name for name in columns if name not in frame.columns]:
                raise SourceError(f"{path}: {table}.csv has no column {', '.join(missing)}.")
            return frame
    raise SourceError(f"{path} holds no {table}.csv. Give the archive of the tables with --tables.")
