"""The catalogue: one TOML file a data set, and any folder or archive beside it."""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import pathspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from errors import InputError, SourceError
from settings import get_settings

CATALOGUE = Path(__file__).parent / "catalogue"

NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LocalSource(_Strict):
    """A folder or an archive on this machine.

    Attributes
    ----------
    path : absolute once loaded; in an entry's file it may start at that file's folder.
    """

    kind: Literal["local"]
    path: str = Field(min_length=1)


class Geometry(_Strict):
    """How a picture gets onto the square, and which are not fit for it.

    Attributes
    ----------
    mode : ``cover`` crops, ``contain`` pads, ``stretch`` changes the aspect ratio.
    enlarge : how a picture smaller than the square is scaled up; ``nearest`` keeps the hard pixels
        of sprites.
    background : ``#rrggbb`` under transparency and beside a contained picture.
    min_side : pixels; a picture with a shorter side is rejected as ``too_small``.
    max_aspect : a picture whose longer side is more than this times the shorter is rejected.
    """

    mode: Literal["cover", "contain", "stretch"] = "cover"
    enlarge: Literal["bicubic", "nearest"] = "bicubic"
    background: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#ffffff"
    min_side: int = Field(default=32, ge=1)
    max_aspect: float = Field(default=4.0, ge=1)

    @property
    def colour(self) -> tuple[int, int, int]:
        """The background as RGB, 0 to 255 each."""
        red, green, blue = bytes.fromhex(self.background[1:])
        return red, green, blue


class EdgeSettings(_Strict):
    """How edges become lines.

    Attributes
    ----------
    threshold : probability from which on a pixel can be a line; the weights' own when left out.
    min_pixels : parts with fewer pixels are removed.
    border : reflected pixels around the picture while edges are detected. A smaller one is
        quicker; one that is not 2 modulo 16 moves lines (docs/weights.md).
    scale : edges of a larger picture are found at its own size, up to this many times the pair's,
        and the map is scaled down: fine lines of sharp pictures stay, soft edges weaken and may
        want a lower threshold. Costs up to scale² times as much.
    min_density : a drawing with a smaller share of line pixels is rejected as ``blank_edges``.
    """

    threshold: float | None = Field(default=None, gt=0, lt=1)
    min_pixels: int = Field(default=5, ge=0, le=10_000)
    border: int = Field(default=98, ge=0, le=256)
    scale: int = Field(default=1, ge=1, le=4)
    min_density: float = Field(default=0.002, ge=0, lt=1)


class TrainingDefaults(_Strict):
    """The recipe that goes with a data set; what is left out takes the trainer's default.

    The fields and their bounds are those of ``model.recipe.Recipe``, which this room may not see.
    """

    batch: int | None = Field(default=None, ge=1, le=1024)
    epochs: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0, le=1)
    lambda_l1: float | None = Field(default=None, ge=0)
    image_size: int | None = Field(default=None, ge=64, le=256, multiple_of=4)
    generator_width: int | None = Field(default=None, ge=4)
    generator_blocks: int | None = Field(default=None, ge=1)
    discriminator_width: int | None = Field(default=None, ge=4)


class DataSet(_Strict):
    """One entry of the catalogue.

    Attributes
    ----------
    name : lower-case words joined by ``-``; part of every key in the store.
    title : what it is, for a person.
    source : where its files come from.
    selection : patterns as in a .gitignore file; a source file that they match is taken.
    expected : how many source files the selection should give, where known.
    licence, homepage : as its makers state them.
    geometry, edges, recipe : see their classes.
    paired : the files are pairs already (drawing left, picture right); no edges are extracted.
    val_share : share of the pictures that are kept for validation.
    max_pixels : a picture with more is rejected before it is decoded.
    shard_size : source files a shard.
    """

    name: str = Field(pattern=NAME, max_length=64)
    title: str
    source: LocalSource
    selection: tuple[str, ...] = Field(default=("**",), min_length=1)
    expected: int | None = Field(default=None, ge=1)
    licence: str = "not stated"
    homepage: str | None = None
    geometry: Geometry = Geometry()
    edges: EdgeSettings = EdgeSettings()
    paired: bool = False
    val_share: float = Field(default=0.05, ge=0, le=0.5)
    max_pixels: int = Field(default=64_000_000, ge=1)
    shard_size: int = Field(default=256, ge=1, le=256)
    recipe: TrainingDefaults = TrainingDefaults()

    @field_validator("selection")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        pathspec.PathSpec.from_lines("gitignore", patterns)
        return patterns


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


def find(
    name_or_path: str,
    name: str | None = None,
    paired: bool = False,
    fit: str | None = None,
    threshold: float | None = None,
) -> DataSet:
    """Return the data set that a user means: a name in the catalogue, or any folder or archive.

    Parameters
    ----------
    name_or_path : a catalogue name is taken first; anything else is a path.
    name : what to call a folder or archive; made from its file name when None.
    paired : whether a folder or archive holds pairs already.
    fit, threshold : in place of the data set's own geometry mode and edge threshold.

    Raises
    ------
    InputError
        If the name, the mode or the threshold does not fit, or the catalogue has a fault.
    SourceError
        If it is neither a name in the catalogue nor an existing path.
    """
    dataset = _find(name_or_path, name, paired)
    try:
        if fit is not None:
            geometry = Geometry.model_validate({**dataset.geometry.model_dump(), "mode": fit})
            dataset = dataset.model_copy(update={"geometry": geometry})
        if threshold is not None:
            edges = EdgeSettings.model_validate(
                {**dataset.edges.model_dump(), "threshold": threshold}
            )
            dataset = dataset.model_copy(update={"edges": edges})
    except ValidationError as error:
        raise InputError(f"{name_or_path}: {_explain(error)}") from None
    return dataset


def _find(name_or_path: str, name: str | None, paired: bool) -> DataSet:
    catalogue = load_catalogue()
    if name_or_path in catalogue:
        if name is not None or paired:
            raise InputError(
                f"{name_or_path} is in the catalogue: --name and --paired are for folders and "
                "archives."
            )
        return catalogue[name_or_path]
    path = Path(name_or_path).expanduser()
    if not name_or_path or not os.path.exists(path):  # noqa: PTH110  # takes names that are too long
        raise SourceError(
            f"{name_or_path!r} is neither a data set ({', '.join(catalogue)}) nor a folder or "
            "archive. `icanvas datasets` lists the data sets."
        )
    title = path.resolve().name
    if name is None:
        name = re.sub(r"[^a-z0-9]+", "-", re.sub(_ARCHIVE_SUFFIX, "", title.lower())).strip("-")
        if not name:
            raise InputError(f"No name can be made from {title!r}. Give one with --name.")
        name = name[:64].rstrip("-")
    if name in catalogue:
        raise InputError(
            f"{name!r} is a data set of the catalogue. Give your own another name with --name."
        )
    return describe_path(path.resolve(), name, paired)


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
        raise InputError(f"{name!r} does not do as a name: {_explain(error)}") from None


_ARCHIVE_SUFFIX = r"\.(zip|tar|tgz|tbz2|txz|tar\.(gz|bz2|xz))$"


def _load_entry(path: Path) -> DataSet:
    try:
        entry = DataSet.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        raise InputError(f"{path}: {_explain(error)}") from None
    if entry.name != path.stem:
        raise InputError(f"{path}: name: {entry.name!r} must be the file's name, {path.stem!r}.")
    place = path.parent.absolute() / Path(entry.source.path).expanduser()
    source = entry.source.model_copy(update={"path": os.path.normpath(place)})
    return entry.model_copy(update={"source": source})


def _explain(error: ValidationError) -> str:
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
