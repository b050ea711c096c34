"""The catalogue: one TOML file a data set, and any folder or archive beside it."""

import os
import re
import tomllib
from pathlib import Path

from pydantic import ValidationError

from config.dataset import AnySource, DatasetConfig, LocalSource
from config.errors import InputError, SourceError
from config.settings import get_settings
from sources.options import PrepareOptions, format_validation_error
from sources.tables import check_columns

CATALOGUE_FOLDER = Path(__file__).parent / "catalogue"


def load_catalogue(*folders: Path) -> dict[str, DatasetConfig]:
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
        folders = (CATALOGUE_FOLDER,) if more is None else (CATALOGUE_FOLDER, more)
    entries: dict[str, DatasetConfig] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"There is no catalogue folder {folder}. Mend ICANVAS_CATALOGUE.")
        for path in sorted(path for path in folder.glob("*.toml") if path.is_file()):
            entry = _load_entry(path)
            if entry.name in entries:
                raise InputError(f"{path}: name: {entry.name!r} is in the catalogue already.")
            entries[entry.name] = entry
    return entries


def find_dataset(name_or_path: str, options: PrepareOptions | None = None) -> DatasetConfig:
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
    options = options or PrepareOptions()
    catalogue = load_catalogue()
    if name_or_path in catalogue:
        dataset = _choose_source(catalogue[name_or_path], options)
    else:
        dataset = _find_by_path(name_or_path, options, catalogue)
    if options.re_extract and not dataset.paired:
        raise InputError(f"{name_or_path} is no set of pairs: its edges are extracted anyway.")
    return apply_options(dataset, options)


def apply_options(dataset: DatasetConfig, options: PrepareOptions) -> DatasetConfig:
    """Return a data set with the choices that concern how its pictures are used."""
    geometry = dataset.geometry
    if options.fit is not None:
        geometry = geometry.model_copy(update={"mode": options.fit})
    edges = dataset.edges.model_copy(update=options.edge_overrides)
    changes: dict[str, object] = {"geometry": geometry, "edges": edges}
    changes |= {"re_extract": options.re_extract, "limit": options.limit}
    return dataset.model_copy(update=changes)


def _choose_source(entry: DatasetConfig, options: PrepareOptions) -> DatasetConfig:
    """Return an entry of the catalogue with what the user has of it, and wants of it."""
    if options.name is not None or options.paired:
        raise InputError(
            f"{entry.name} is in the catalogue: --name and --paired are for folders and archives."
        )
    changes: dict[str, object] = {}
    if options.archive is not None:
        changes["archive"] = _require_existing(options.archive)
    if options.tables is not None or options.where:
        if entry.tables is None:
            raise InputError(f"{entry.name} has no tables: leave --where and --tables out.")
        if not options.where:
            raise InputError("--tables goes with --where, which says what to choose by.")
        changes["where"] = _check_where(options.where)
    if options.tables is not None:
        changes["tables_archive"] = _require_existing(options.tables)
    if options.everything:
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


def _require_existing(path: str) -> str:
    found = Path(path).expanduser()
    if not os.path.exists(found):  # noqa: PTH110  # takes names that are too long
        raise SourceError(f"{path} does not exist. Check the path.")
    return str(found.resolve())


def _find_by_path(
    name_or_path: str, options: PrepareOptions, catalogue: dict[str, DatasetConfig]
) -> DatasetConfig:
    path = Path(name_or_path).expanduser()
    if not name_or_path or not os.path.exists(path):  # noqa: PTH110  # takes names that are too long
        raise SourceError(
            f"{name_or_path!r} is neither a data set ({', '.join(catalogue)}) nor a folder or "
            "archive. `icanvas datasets` lists the data sets."
        )
    if options.archive or options.tables or options.everything or options.where:
        raise InputError(
            f"{name_or_path} is not in the catalogue: --archive, --all, --tables and --where are "
            "for data sets that are."
        )
    title, name = path.resolve().name, options.name
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
    return describe_path(path.resolve(), name, options.paired)


def describe_path(path: Path, name: str, paired: bool = False) -> DatasetConfig:
    """Return a folder or archive as a data set of this name, with every setting's default.

    Raises
    ------
    InputError
        If the name does not do.
    """
    try:
        return DatasetConfig(
            name=name,
            title=path.name,
            source=LocalSource(kind="local", path=str(path)),
            paired=paired,
        )
    except ValidationError as error:
        raise InputError(
            f"{name!r} does not do as a name: {format_validation_error(error)}"
        ) from None


_ARCHIVE_SUFFIX = r"\.(zip|tar|tgz|tbz2|txz|tar\.(gz|bz2|xz))$"


def _load_entry(path: Path) -> DatasetConfig:
    try:
        entry = DatasetConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        raise InputError(f"{path}: {format_validation_error(error)}") from None
    if entry.name != path.stem:
        raise InputError(f"{path}: name: {entry.name!r} must be the file's name, {path.stem!r}.")
    changes: dict[str, object] = {"source": _resolve_source(entry.source, path.parent)}
    if entry.tables is not None:
        changes["tables"] = _resolve_source(entry.tables, path.parent)
    if entry.sketches is not None:
        changes["sketches"] = _resolve_path(entry.sketches, path.parent)
    return entry.model_copy(update=changes)


def _resolve_source(source: AnySource, folder: Path) -> AnySource:
    if not isinstance(source, LocalSource):
        return source
    return source.model_copy(update={"path": _resolve_path(source.path, folder)})


def _resolve_path(path: str, folder: Path) -> str:
    """Let a relative path start at the entry's folder."""
    return os.path.normpath(folder.absolute() / Path(path).expanduser())
