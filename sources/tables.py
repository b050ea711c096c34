"""Selection of pictures by DVM-CAR's tables.

The table of advertisements (``Ad_table``) and the table of pictures (``Image_table``) are joined
by the number of the advertisement: the first two ``$$`` parts of a picture's number. A row and its
file have the same file name, except that the file's name lacks apostrophes.
"""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import pandas as pd

from config.errors import InputError, SourceError
from sources.archives import open_path

# Column name in our options: table and column name there.
COLUMNS = {
    "body_type": ("Ad_table", "Bodytype"),
    "viewpoint": ("Image_table", "Predicted_viewpoint"),
    "quality": ("Image_table", "Quality_check"),
}


def check_columns(where: Iterable[str]) -> None:
    """Check that columns exist.

    Parameters
    ----------
    where : iterable of str
        Column names.

    Raises
    ------
    InputError
        If a column is not one of ``COLUMNS``.
    """
    for column in where:
        if column not in COLUMNS:
            raise InputError(
                f"--where {column}: unknown column. The columns are {', '.join(COLUMNS)}."
            )


def select_names(path: Path, where: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """Return the names of the pictures whose rows have the given values.

    Parameters
    ----------
    path : Path
        Folder or archive with the tables as CSV files.
    where : mapping of str to tuple of str
        Accepted values by column of ``COLUMNS``; case-insensitive.

    Returns
    -------
    frozenset of str
        File names, normalized by ``normalize_name``.

    Raises
    ------
    InputError
        If a column is not one of ``COLUMNS``, or a value does not occur in it.
    SourceError
        If a table or a column is missing, or a table cannot be read.
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
    mask = pd.Series(True, index=pictures.index)
    for column, accepted in where.items():
        values = pictures[COLUMNS[column][1]].str.strip().str.casefold()
        existing = set(values.dropna())
        for value in accepted:
            if value.casefold() not in existing:
                raise InputError(
                    f"--where {column}={value}: no picture has this value. The values are "
                    f"{', '.join(sorted(existing))}."
                )
        mask &= values.isin([value.casefold() for value in accepted])
    pictures = pictures[mask]
    return frozenset(normalize_name(name) for name in pictures["Image_name"].dropna())


def normalize_name(path: str) -> str:
    """Return the form of a picture's name that its file and its row share.

    Parameters
    ----------
    path : str
        Path of the file, or name in the table.

    Returns
    -------
    str
        File name without apostrophes.

    Examples
    --------
    >>> normalize_name("Vauxhall/Vauxhall$$Don't$$1.jpg")
    'Vauxhall$$Dont$$1.jpg'
    """
    return PurePosixPath(path).name.replace("'", "")


def _read(
    path: Path, table: str, columns: list[str], where: Mapping[str, tuple[str, ...]]
) -> pd.DataFrame:
    columns = columns + [name for owner, name in map(COLUMNS.__getitem__, where) if owner == table]
    for file in open_path(path).files():
        if PurePosixPath(file.path).name == f"{table}.csv":
            try:
                frame = pd.read_csv(
                    io.BytesIO(file.read()),
                    dtype=str,
                    # Some headings begin with a space.
                    usecols=lambda name: name.strip() in columns,
                    skipinitialspace=True,
                    keep_default_na=False,
                    na_values=[""],
                )
            # pandas' own errors and UnicodeDecodeError are subclasses of ValueError.
            except ValueError as error:
                raise SourceError(f"{path}: {table}.csv cannot be read: {error}.") from error
            frame.columns = frame.columns.str.strip()
            if missing := [name for name in columns if name not in frame.columns]:
                raise SourceError(f"{path}: {table}.csv has no column {', '.join(missing)}.")
            return frame
    raise SourceError(f"{path} holds no {table}.csv. Give the archive of the tables with --tables.")
