"""One entry of the catalogue: what a data set is, where it is, how its pictures are used."""

import json
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

import pathspec
from pydantic import BaseModel, ConfigDict, Field, field_validator

from config.recipe import Recipe

_PatternsT = TypeVar("_PatternsT", tuple[str, ...], dict[str, int])

NAME_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LocalSource(_StrictModel):
    """A folder or an archive on this machine.

    Attributes
    ----------
    path : absolute once loaded; in an entry's file it may start at that file's folder.
    """

    kind: Literal["local"]
    path: str = Field(min_length=1)

    @property
    def title(self) -> str:
        """Where it is, for a person."""
        return self.path


class _DownloadSource(_StrictModel):
    """What every archive from the network has.

    Attributes
    ----------
    size, sha256 : of the archive in bytes and as hex, where known; checked.
    approximate_size : its size in bytes as far as known, for a person; not checked.
    max_files : an archive with more files is refused.
    """

    size: int | None = Field(default=None, ge=1)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    approximate_size: int | None = Field(default=None, ge=1)
    max_files: int = Field(default=500_000, ge=1)

    @property
    def expected_bytes(self) -> int | None:
        """How much there is to fetch, as far as known."""
        return self.size or self.approximate_size

    @property
    def file_name(self) -> str:
        """What to look for on the page, for a person."""
        return "it"


class HttpSource(_DownloadSource):
    """An archive on web servers.

    Attributes
    ----------
    urls : the archive's address and its mirrors', tried in this order. One that is not ``https``
        is used only where ``sha256`` is given or the user allows it.
    """

    kind: Literal["http"]
    urls: tuple[Annotated[str, Field(pattern=r"^https?://[^/?#@]+/[^?#]*[^/?#]$")], ...] = Field(
        min_length=1
    )

    @property
    def title(self) -> str:
        """Where it is, for a person."""
        return ", ".join(dict.fromkeys(urlsplit(url).netloc for url in self.urls))

    @property
    def page(self) -> str:
        """What to open in a browser."""
        return self.urls[0]


class KaggleSource(_DownloadSource):
    """A data set on Kaggle.

    Attributes
    ----------
    handle : ``owner/name``.
    version : the newest one when left out.
    """

    kind: Literal["kaggle"]
    handle: str = Field(pattern=r"^[\w-]+/[\w-]+$")
    version: int | None = Field(default=None, ge=1)

    @property
    def title(self) -> str:
        """Where it is, for a person."""
        return f"Kaggle {self.handle}"

    @property
    def page(self) -> str:
        """What to open in a browser."""
        return f"https://www.kaggle.com/datasets/{self.handle}"


class FigshareSource(_DownloadSource):
    """A file of an article on figshare.

    Attributes
    ----------
    article, version : as in ``figshare.com/articles/…/<article>/<version>``.
    file : its number, or its name.
    file_label : the name that goes with a number, for a person.
    """

    kind: Literal["figshare"]
    article: int = Field(ge=1)
    version: int = Field(ge=1)
    file: int | str
    file_label: str | None = None

    @property
    def file_name(self) -> str:
        """What to look for on the page, for a person."""
        return self.file_label or str(self.file)

    @property
    def title(self) -> str:
        """Where it is, for a person."""
        return f"figshare {self.article}, version {self.version}"

    @property
    def page(self) -> str:
        """What to open in a browser."""
        return f"https://doi.org/10.6084/m9.figshare.{self.article}.v{self.version}"


RemoteSource = HttpSource | KaggleSource | FigshareSource
AnySource = Annotated[LocalSource | RemoteSource, Field(discriminator="kind")]


class RandomSubset(_StrictModel):
    """Some of the selected files, by chance.

    The files with the lowest SHA-256 of ``<seed>:<file name>`` are taken: neither their order nor
    the folder that they lie in matters.

    Attributes
    ----------
    count : how many.
    seed : another one gives others.
    """

    count: int = Field(ge=1)
    seed: int


class Geometry(_StrictModel):
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
    def background_rgb(self) -> tuple[int, int, int]:
        """The background as RGB, 0 to 255 each."""
        red, green, blue = bytes.fromhex(self.background[1:])
        return red, green, blue


class EdgeSettings(_StrictModel):
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


class DatasetConfig(_StrictModel):
    """One entry of the catalogue.

    Attributes
    ----------
    name : lower-case words joined by ``-``; part of every key in the store.
    title : what it is, for a person.
    source : where its files come from.
    selection : patterns as in a .gitignore file; a source file that they match is taken.
    choice : how many of these are taken, and which; all when left out.
    limit : of what is taken at most so many, always the same ones; for trials.
    tables : the archive of DVM-CAR's tables, which pictures can be chosen by; see
        ``sources.tables``.
    where : a column of the tables to the values that are wanted in it.
    expected : how many files the selection should give, where known.
    expected_in : the same for a part of the selection, by its pattern.
    licence, homepage : as its makers state them.
    terms : what else there is to know before using it.
    restricted : the licence is not open, or not known: it has to be accepted once.
    geometry, edges, recipe : see their classes.
    sketches : a folder or archive of drawings by hand that nobody trains on: what a run makes of
        them is shown. A relative path starts at the entry's file's folder.
    paired : the files are pairs already, drawing and picture side by side; they are used as they
        are.
    re_extract : of such pairs the picture alone is taken, and edges are extracted.
    val_share : share of the pictures that are kept for validation.
    validation : patterns of the files that are kept for validation, in place of a share.
    max_pixels : a picture with more is rejected before it is decoded.
    shard_size : source files a shard.
    archive, tables_archive : a folder or archive on this machine that is read in place of the
        source and of the tables' source.
    """

    name: str = Field(pattern=NAME_PATTERN, max_length=64)
    title: str
    source: AnySource
    selection: tuple[str, ...] = Field(default=("**",), min_length=1)
    choice: RandomSubset | None = None
    limit: int | None = Field(default=None, ge=1)
    tables: AnySource | None = None
    where: dict[str, tuple[str, ...]] = {}
    expected: int | None = Field(default=None, ge=1)
    expected_in: dict[str, Annotated[int, Field(ge=1)]] = {}
    license: str = "not stated"
    terms: str | None = None
    homepage: str | None = Field(default=None, pattern=r"^https?://")
    restricted: bool = False
    geometry: Geometry = Geometry()
    edges: EdgeSettings = EdgeSettings()
    paired: bool = False
    re_extract: bool = False
    val_share: float = Field(default=0.05, ge=0, le=0.5)
    validation: tuple[str, ...] = ()
    max_pixels: int = Field(default=64_000_000, ge=1)
    shard_size: int = Field(default=256, ge=1, le=256)
    recipe: Recipe = Recipe()
    sketches: str | None = Field(default=None, min_length=1)
    archive: str | None = None
    tables_archive: str | None = None

    @field_validator("selection", "validation", "expected_in")
    @classmethod
    def _check_patterns(cls, patterns: _PatternsT) -> _PatternsT:
        pathspec.PathSpec.from_lines("gitignore", patterns)
        return patterns

    @property
    def needs_edges(self) -> bool:
        """Whether drawings are extracted, and not there already."""
        return not self.paired or self.re_extract

    @property
    def num_files(self) -> int | None:
        """How many files are to be taken, where known."""
        whole = self.expected or sum(self.expected_in.values()) or None
        if self.choice is not None:
            whole = self.choice.count
        return min(whole, self.limit) if whole and self.limit else whole

    @property
    def origin(self) -> str:
        """Where the files come from as one line: a path, or JSON of a source on the network."""
        if isinstance(self.source, LocalSource):
            return self.archive or self.source.path
        facts = self.source.model_dump(exclude_none=True, exclude={"approximate_size", "max_files", "file_label"})
        return json.dumps(facts, sort_keys=True)
