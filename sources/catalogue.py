"""The catalogue: one TOML file per data set. Other folders and archives are used by path."""

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
    """Load all data sets of the catalogue.

    Parameters
    ----------
    *folders : Path
        Folders with catalogue files. None given: the built-in folder and ``ICANVAS_CATALOGUE``.

    Returns
    -------
    dict of str to DatasetConfig
        Entries by name.

    Raises
    ------
    InputError
        If a file is not TOML, has an unknown key or an invalid value, is not named after its data
        set, or describes a data set that another file describes. The message names the file and
        the key.
    """
    if not folders:
        user_folder = get_settings().catalogue
        folders = (CATALOGUE_FOLDER,) if user_folder is None else (CATALOGUE_FOLDER, user_folder)
    entries: dict[str, DatasetConfig] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(
                f"The catalogue folder {folder} does not exist. Set ICANVAS_CATALOGUE."
            )
        for path in sorted(path for path in folder.glob("*.toml") if path.is_file()):
            entry = _load_entry(path)
            if entry.name in entries:
                raise InputError(f"{path}: name: {entry.name!r} is already in the catalogue.")
            entries[entry.name] = entry
    return entries


def find_dataset(name_or_path: str, options: PrepareOptions | None = None) -> DatasetConfig:
    """Return a data set by its catalogue name, or a folder or archive by its path.

    Parameters
    ----------
    name_or_path : str
        Catalogue name, or a path if the catalogue has no such name.
    options : PrepareOptions or None
        Values that override the entry or the defaults.

    Returns
    -------
    DatasetConfig
        Configuration with the options applied.

    Raises
    ------
    InputError
        If an option does not apply to the data set, or a catalogue file is invalid.
    SourceError
        If it is neither a catalogue name nor an existing path.
    """
    options = options or PrepareOptions()
    catalogue = load_catalogue()
    if name_or_path in catalogue:
        dataset = _choose_source(catalogue[name_or_path], options)
    else:
        dataset = _find_by_path(name_or_path, options, catalogue)
    if options.re_extract and not dataset.paired:
        raise InputError(
            f"{name_or_path} has no published pairs: its edges are extracted in any case. Leave "
            "--re-extract out."
        )
    return apply_options(dataset, options)


def apply_options(dataset: DatasetConfig, options: PrepareOptions) -> DatasetConfig:
    """Apply the options that concern the extraction, not the source.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set.
    options : PrepareOptions
        Options ``fit``, ``limit``, ``re_extract`` and those of the edges are applied.

    Returns
    -------
    DatasetConfig
        Changed copy.
    """
    geometry = dataset.geometry
    if options.fit is not None:
        geometry = geometry.model_copy(update={"mode": options.fit})
    edges = dataset.edges.model_copy(update=options.edge_overrides)
    changes: dict[str, object] = {"geometry": geometry, "edges": edges}
    changes |= {"re_extract": options.re_extract, "limit": options.limit}
    return dataset.model_copy(update=changes)


def _choose_source(entry: DatasetConfig, options: PrepareOptions) -> DatasetConfig:
    """Apply the options that concern the source of a catalogue entry."""
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
            raise InputError("--tables needs --where, which selects pictures by the tables.")
        changes["where"] = _normalize_where(options.where)
    if options.tables is not None:
        changes["tables_archive"] = _require_existing(options.tables)
    if options.everything:
        if entry.choice is None:
            raise InputError(f"{entry.name} is used completely by default: leave --all out.")
        changes["choice"] = None
    return entry.model_copy(update=changes)


def _normalize_where(where: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return sorted columns and case-folded values: equal selections get one fingerprint."""
    check_columns(where)
    return {
        column: tuple(sorted({value.casefold() for value in where[column]}))
        for column in sorted(where)
    }


def _require_existing(path: str) -> str:
    expanded = Path(path).expanduser()
    if not os.path.exists(expanded):  # noqa: PTH110  # accepts names that are too long
        raise SourceError(f"{path} does not exist. Check the path.")
    return str(expanded.resolve())


def _find_by_path(
    name_or_path: str, options: PrepareOptions, catalogue: dict[str, DatasetConfig]
) -> DatasetConfig:
    path = Path(name_or_path).expanduser()
    if not name_or_path or not os.path.exists(path):  # noqa: PTH110  # accepts names that are too long
        raise SourceError(
            f"{name_or_path!r} is neither a data set ({', '.join(catalogue)}) nor a folder or "
            "archive. `icanvas datasets` lists the data sets."
        )
    if options.archive or options.tables or options.everything or options.where:
        raise InputError(
            f"{name_or_path} is not in the catalogue: --archive, --all, --tables and --where are "
            "for data sets of the catalogue."
        )
    title, name = path.resolve().name, options.name
    if name is None:
        name = re.sub(r"[^a-z0-9]+", "-", re.sub(_ARCHIVE_SUFFIX, "", title.lower())).strip("-")
        if not name:
            raise InputError(f"No name can be derived from {title!r}. Choose one with --name.")
        name = name[:64].rstrip("-")
    if name in catalogue:
        raise InputError(
            f"{name!r} is a data set of the catalogue. If {name_or_path} is a copy of it, run "
            f"icanvas prepare {name} --archive {name_or_path}; if not, choose another name with "
            "--name."
        )
    return describe_path(path.resolve(), name, options.paired)


def describe_path(path: Path, name: str, paired: bool = False) -> DatasetConfig:
    """Return the configuration of a folder or archive that is not in the catalogue.

    Parameters
    ----------
    path : Path
        Folder or archive.
    name : str
        Name for the data set.
    paired : bool
        Whether the files are published pairs.

    Returns
    -------
    DatasetConfig
        Configuration with default settings.

    Raises
    ------
    InputError
        If the name is invalid.
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
            f"{name!r} is not a valid name: {format_validation_error(error)}"
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
    """Resolve a path relative to the folder of the catalogue file."""
    return os.path.normpath(folder.absolute() / Path(path).expanduser())
