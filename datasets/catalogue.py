"""The catalogue: one TOML file a data set, and any folder or archive beside it."""

import os
import re
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datasets.entry import AnySource, DataSet, LocalSource
from datasets.tables import check_columns
from errors import InputError, SourceError
from settings import get_settings

CATALOGUE = Path(__file__).parent / "catalogue"


class Choices(BaseModel):
    """What a user wants other than the catalogue, or the defaults, say.

    Attributes
    ----------
    name : what to call a folder or archive; made from its file name when left out.
    paired : a folder or archive holds pairs already (drawing and picture side by side).
    re_extract : of pairs take the picture alone, and extract its edges.
    fit : how pictures get onto the square, in place of the data set's own way.
    threshold : edge probability from which on a pixel can be a line, in place of its own.
    archive : a folder or archive of yours that holds what the data set's source does.
    tables : the same for its tables.
    everything : take all that the source holds, not the usual choice of it.
    where : take only pictures whose row in the tables has one of these values in a column.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None
    paired: bool = False
    re_extract: bool = False
    fit: Literal["cover", "contain", "stretch"] | None = None
    threshold: float | None = Field(default=None, gt=0, lt=1)
    archive: str | None = None
    tables: str | None = None
    everything: bool = False
    where: dict[str, tuple[str, ...]] = {}


def make_choices(**values: object) -> Choices:
    """Return checked choices.

    Raises
    ------
    InputError
        If a value does not fit; the message names it.
    """
    try:
        return Choices.model_validate(values)
    except ValidationError as error:
        raise InputError(explain(error)) from None


def load_catalogue(*folders: Path) -> dict[str, DataSet]:
    """Return every data set of the catalogue by its name.

    Parameters
    ----------
    folders : where the entries are; the built-in ones and the setting's when none is given.

    Raises
    ------
    InputError
        If a file is not TOML, has an unknown key or a bad value, is not named as its data set, or
        describes one that is there already; the message names the file and the key.
    """
    if not folders:
        more = get_settings().catalogue
        folders = (CATALOGUE,) if more is None else (CATALOGUE, more)
    entries: dict[str, DataSet] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"There is no catalogue folder {folder}. Mend ICANVAS_CATALOGUE.")
        for path in sorted(path for path in folder.glob("*.toml") if path.is_file()):
            entry = _load_entry(path)
            if entry.name in entries:
                raise InputError(f"{path}: name: {entry.name!r} is in the catalogue already.")
            entries[entry.name] = entry
    return entries


def find(name_or_path: str, choices: Choices | None = None) -> DataSet:
    """Return the data set that a user means: a name in the catalogue, or any folder or archive.

    Parameters
    ----------
    name_or_path : a catalogue name is taken first; anything else is a path.
    choices : what is to be other than the entry or the defaults say.

    Raises
    ------
    InputError
        If a choice does not fit the data set, or the catalogue has a fault.
    SourceError
        If it is neither a name in the catalogue nor an existing path.
    """
    choices = choices or Choices()
    catalogue = load_catalogue()
    if name_or_path in catalogue:
        dataset = _choose_source(catalogue[name_or_path], choices)
    else:
        dataset = _find_path(name_or_path, choices, catalogue)
    if choices.re_extract and not dataset.paired:
        raise InputError(f"{name_or_path} is no set of pairs: its edges are extracted anyway.")
    geometry, edges = dataset.geometry, dataset.edges
    if choices.fit is not None:
        geometry = geometry.model_copy(update={"mode": choices.fit})
    if choices.threshold is not None:
        edges = edges.model_copy(update={"threshold": choices.threshold})
    changes = {"geometry": geometry, "edges": edges, "re_extract": choices.re_extract}
    return dataset.model_copy(update=changes)


def _choose_source(entry: DataSet, choices: Choices) -> DataSet:
    """Return an entry of the catalogue with what the user has of it, and wants of it."""
    if choices.name is not None or choices.paired:
        raise InputError(
            f"{entry.name} is in the catalogue: --name and --paired are for folders and archives."
        )
    changes: dict[str, object] = {}
    if choices.archive is not None:
        changes["archive"] = _existing(choices.archive)
    if choices.tables is not None or choices.where:
        if entry.tables is None:
            raise InputError(f"{entry.name} has no tables: leave --where and --tables out.")
        if not choices.where:
            raise InputError("--tables goes with --where, which says what to choose by.")
        changes["where"] = _check_where(choices.where)
    if choices.tables is not None:
        changes["tables_archive"] = _existing(choices.tables)
    if choices.everything:
        if entry.choice is None:
            raise InputError(f"{entry.name} is taken whole as it is: leave --all out.")
        changes["choice"] = None
    return entry.model_copy(update=changes)


def _check_where(where: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the columns and values in one spelling, so that equal choices are one set."""
    check_columns(where)
    return {
        column: tuple(sorted({value.casefold() for value in where[column]}))
        for column in sorted(where)
    }


def _existing(path: str) -> str:
    found = Path(path).expanduser()
    if not os.path.exists(found):  # noqa: PTH110  # takes names that are too long
        raise SourceError(f"{path} does not exist. Check the path.")
    return str(found.resolve())


def _find_path(name_or_path: str, choices: Choices, catalogue: dict[str, DataSet]) -> DataSet:
    path = Path(name_or_path).expanduser()
    if not name_or_path or not os.path.exists(path):  # noqa: PTH110  # takes names that are too long
        raise SourceError(
            f"{name_or_path!r} is neither a data set ({', '.join(catalogue)}) nor a folder or "
            "archive. `icanvas datasets` lists the data sets."
        )
    if choices.archive or choices.tables or choices.everything or choices.where:
        raise InputError(
            f"{name_or_path} is not in the catalogue: --archive, --all, --tables and --where are "
            "for data sets that are."
        )
    title, name = path.resolve().name, choices.name
    if name is None:
        name = re.sub(r"[^a-z0-9]+", "-", re.sub(_ARCHIVE_SUFFIX, "", title.lower())).strip("-")
        if not name:
            raise InputError(f"No name can be made from {title!r}. Give one with --name.")
        name = name[:64].rstrip("-")
    if name in catalogue:
        raise InputError(
            f"{name!r} is a data set of the catalogue: for a copy of it that you have, "
            f"icanvas prepare {name} --archive {name_or_path}; for something else, give it "
            "another name with --name."
        )
    return describe_path(path.resolve(), name, choices.paired)


def describe_path(path: Path, name: str, paired: bool = False) -> DataSet:
    """Return a folder or archive as a data set of this name, with every setting's default.

    Raises
    ------
    InputError
        If the name does not do.
    """
    try:
        return DataSet(
            name=name,
            title=path.name,
            source=LocalSource(kind="local", path=str(path)),
            paired=paired,
        )
    except ValidationError as error:
        raise InputError(f"{name!r} does not do as a name: {explain(error)}") from None


_ARCHIVE_SUFFIX = r"\.(zip|tar|tgz|tbz2|txz|tar\.(gz|bz2|xz))$"


def _load_entry(path: Path) -> DataSet:
    try:
        entry = DataSet.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error)}") from None
    if entry.name != path.stem:
        raise InputError(f"{path}: name: {entry.name!r} must be the file's name, {path.stem!r}.")
    changes: dict[str, object] = {"source": _placed(entry.source, path.parent)}
    if entry.tables is not None:
        changes["tables"] = _placed(entry.tables, path.parent)
    if entry.sketches is not None:
        changes["sketches"] = _place(entry.sketches, path.parent)
    return entry.model_copy(update=changes)


def _placed(source: AnySource, folder: Path) -> AnySource:
    if not isinstance(source, LocalSource):
        return source
    return source.model_copy(update={"path": _place(source.path, folder)})


def _place(path: str, folder: Path) -> str:
    """Let a relative path start at the entry's folder."""
    return os.path.normpath(folder.absolute() / Path(path).expanduser())


def explain(error: ValidationError) -> str:
    """Return pydantic's findings as one line that names each key."""
    faults = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            faults.append(f"{key}: unknown key")
        elif fault["type"] == "missing":
            faults.append(f"{key}: missing")
        else:
            faults.append(f"{key}: {fault['msg']}, got {fault['input']!r}")
    return "; ".join(faults)
