"""The catalogue: one TOML file a data set, and any folder or archive beside it."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from errors import InputError, SourceError

CATALOGUE = Path(__file__).parent / "catalogue"

_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LocalSource(_Strict):
    """A folder or an archive on this machine; a relative path starts at ``datasets/``."""

    kind: Literal["local"]
    path: str = Field(min_length=1)

    def resolve(self) -> Path:
        """Return the absolute path."""
        return Path(__file__).parent / Path(self.path).expanduser()


class Geometry(_Strict):
    """How a picture gets onto the square, and which are not fit for it.

    Attributes
    ----------
    mode : ``cover`` crops, ``contain`` pads, ``stretch`` changes the aspect ratio.
    background : ``#rrggbb`` under transparency and beside a contained picture.
    min_side : pixels; a picture with a shorter side is rejected as ``too_small``.
    max_aspect : a picture whose longer side is more than this times the shorter is rejected.
    """

    mode: Literal["cover", "contain", "stretch"] = "cover"
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
    border : reflected pixels around the picture while edges are detected.
    min_density : a drawing with a smaller share of line pixels is rejected as ``blank_edges``.
    """

    threshold: float | None = Field(default=None, gt=0, lt=1)
    min_pixels: int = Field(default=5, ge=0, le=10_000)
    border: int = Field(default=96, ge=0, le=256)
    min_density: float = Field(default=0.002, ge=0, lt=1)


class TrainingDefaults(_Strict):
    """The recipe that goes with a data set; what is left out takes the trainer's default."""

    batch: int = Field(default=4, ge=1)
    epochs: int = Field(default=20, ge=1)
    image_size: int | None = Field(default=None, ge=64)
    generator_width: int | None = Field(default=None, ge=4)
    discriminator_width: int | None = Field(default=None, ge=4)


class DataSet(_Strict):
    """One entry of the catalogue.

    Attributes
    ----------
    name : lower-case words joined by ``-``; part of every key in the store.
    title : what it is, for a person.
    source : where its files come from.
    selection : patterns as in a .gitignore file; a source file that fits any of them is taken.
    expected : how many source files the selection should give, where known.
    licence, homepage : as its makers state them.
    geometry, edges, recipe : see their classes.
    paired : the files are pairs already (drawing left, picture right); no edges are extracted.
    val_share : share of the pictures that are kept for validation.
    max_pixels : a picture with more is rejected before it is decoded.
    shard_size : source files a shard.
    """

    name: str = Field(pattern=_NAME, max_length=64)
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


def load_catalogue(folder: Path = CATALOGUE) -> dict[str, DataSet]:
    """Return every data set of the catalogue by its name, in the order of names.

    Raises
    ------
    InputError
        If a file is not TOML, has an unknown key or a bad value, or is not named as its data set;
        the message names the file and the key.
    """
    entries = (_load_entry(path) for path in sorted(folder.glob("*.toml")))
    return {entry.name: entry for entry in entries}


def find(name_or_path: str, name: str | None = None, paired: bool = False) -> DataSet:
    """Return the data set that a user means: a name in the catalogue, or any folder or archive.

    Parameters
    ----------
    name_or_path : a catalogue name is taken first; anything else is a path.
    name : what to call a folder or archive; made from its file name when None.
    paired : whether a folder or archive holds pairs already.

    Raises
    ------
    InputError
        If the name does not fit, or the catalogue has a fault.
    SourceError
        If it is neither a name in the catalogue nor an existing path.
    """
    catalogue = load_catalogue()
    if name_or_path in catalogue:
        if name is not None or paired:
            raise InputError(
                f"{name_or_path} is in the catalogue: --name and --paired are for folders and "
                "archives."
            )
        return catalogue[name_or_path]
    path = Path(name_or_path).expanduser()
    if not path.exists():
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
    try:
        return DataSet(
            name=name,
            title=title,
            source=LocalSource(kind="local", path=str(path.resolve())),
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
    return entry


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
