"""The configuration of a data set: one catalogue entry with its source and picture settings."""

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
    kind : "local"
        Discriminator.
    path : str
        Path. In a catalogue file it may be relative to the file's folder; it is absolute once
        loaded.
    """

    kind: Literal["local"]
    path: str = Field(min_length=1)

    @property
    def title(self) -> str:
        """Location of the source, for display."""
        return self.path


class _DownloadSource(_StrictModel):
    """Base class of archives that are downloaded.

    Attributes
    ----------
    size : int, bytes, or None
        Exact length of the archive if known; checked after the download.
    sha256 : str or None
        SHA-256 (hex) of the archive if known; checked after the download.
    approximate_size : int, bytes, or None
        Approximate length of the archive, for display only.
    max_files : int, 1 or more
        An archive with more members is refused.
    """

    size: int | None = Field(default=None, ge=1)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    approximate_size: int | None = Field(default=None, ge=1)
    max_files: int = Field(default=500_000, ge=1)

    @property
    def expected_bytes(self) -> int | None:
        """Bytes to download, exact or approximate; None if unknown."""
        return self.size or self.approximate_size

    @property
    def file_name(self) -> str:
        """Name of the file on the source's web page, for display."""
        return "it"


class HttpSource(_DownloadSource):
    """An archive on web servers.

    Attributes
    ----------
    kind : "http"
        Discriminator.
    urls : tuple of str
        URLs of the archive and its mirrors, tried in this order. A plain http URL is used only if
        ``sha256`` is set or ``ICANVAS_ALLOW_HTTP`` is on.
    """

    kind: Literal["http"]
    urls: tuple[Annotated[str, Field(pattern=r"^https?://[^/?#@]+/[^?#]*[^/?#]$")], ...] = Field(
        min_length=1
    )

    @property
    def title(self) -> str:
        """Location of the source, for display."""
        return ", ".join(dict.fromkeys(urlsplit(url).netloc for url in self.urls))

    @property
    def page(self) -> str:
        """URL to open in a browser."""
        return self.urls[0]


class KaggleSource(_DownloadSource):
    """A data set on Kaggle.

    Attributes
    ----------
    kind : "kaggle"
        Discriminator.
    handle : str
        Kaggle's handle, ``owner/name``.
    version : int, 1 or more, or None
        Version; None for the latest one.
    """

    kind: Literal["kaggle"]
    handle: str = Field(pattern=r"^[\w-]+/[\w-]+$")
    version: int | None = Field(default=None, ge=1)

    @property
    def title(self) -> str:
        """Location of the source, for display."""
        return f"Kaggle {self.handle}"

    @property
    def page(self) -> str:
        """URL to open in a browser."""
        return f"https://www.kaggle.com/datasets/{self.handle}"


class FigshareSource(_DownloadSource):
    """A file of an article on figshare.

    Attributes
    ----------
    kind : "figshare"
        Discriminator.
    article : int
        Article number, as in ``figshare.com/articles/…/<article>/<version>``.
    version : int
        Version of the article.
    file : int or str
        Number or name of the file.
    file_label : str or None
        Name of a file that is given by its number, for display.
    """

    kind: Literal["figshare"]
    article: int = Field(ge=1)
    version: int = Field(ge=1)
    file: int | str
    file_label: str | None = None

    @property
    def file_name(self) -> str:
        """Name of the file on the source's web page, for display."""
        return self.file_label or str(self.file)

    @property
    def title(self) -> str:
        """Location of the source, for display."""
        return f"figshare {self.article}, version {self.version}"

    @property
    def page(self) -> str:
        """URL to open in a browser."""
        return f"https://doi.org/10.6084/m9.figshare.{self.article}.v{self.version}"


RemoteSource = HttpSource | KaggleSource | FigshareSource
AnySource = Annotated[LocalSource | RemoteSource, Field(discriminator="kind")]


class RandomSubset(_StrictModel):
    """A random subset of the selected files.

    It consists of the files with the lowest SHA-256 of ``<seed>:<file name>``. It therefore
    depends neither on the order of the files nor on their folders.

    Attributes
    ----------
    count : int, 1 or more
        Number of files.
    seed : int
        Seed of the hash.
    """

    count: int = Field(ge=1)
    seed: int


class Geometry(_StrictModel):
    """How pictures are fitted to a square, and which are rejected for their shape.

    Attributes
    ----------
    mode : {"cover", "contain", "stretch"}
        ``cover`` crops, ``contain`` pads, ``stretch`` changes the aspect ratio.
    enlarge : {"bicubic", "nearest"}
        Interpolation for pictures smaller than the square; ``nearest`` keeps the hard pixels of
        sprites.
    background : str
        Color as ``#rrggbb`` under transparent pixels and beside a contained picture.
    min_side : int, pixels, 1 or more
        A picture with a shorter side is rejected as ``too_small``.
    max_aspect : float, 1 or more
        A picture with a larger ratio of its longer to its shorter side is rejected.
    """

    mode: Literal["cover", "contain", "stretch"] = "cover"
    enlarge: Literal["bicubic", "nearest"] = "bicubic"
    background: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#ffffff"
    min_side: int = Field(default=32, ge=1)
    max_aspect: float = Field(default=4.0, ge=1)

    @property
    def background_rgb(self) -> tuple[int, int, int]:
        """Background color as RGB, 0 to 255 each."""
        red, green, blue = bytes.fromhex(self.background[1:])
        return red, green, blue


class EdgeSettings(_StrictModel):
    """How an edge map becomes a line drawing.

    Attributes
    ----------
    threshold : float, 0 to 1, exclusive, or None
        Edge probability above which a pixel can be a line; None for the default of the weights.
    min_pixels : int, pixels, 0 to 10,000
        Connected components of fewer pixels are removed.
    border : int, pixels, 0 to 256
        Reflection padding around the picture during edge detection. A smaller border is faster; a
        border that is not 2 modulo 16 shifts lines (docs/weights.md).
    scale : int, 1 to 4
        Edges of a larger picture are detected at up to this multiple of the pair's size, and the
        edge map is scaled down. Fine lines of sharp pictures are kept; soft edges become weaker and
        may need a lower threshold. Costs up to scale² times as much.
    min_density : float, 0 to 1, exclusive of 1
        A drawing with a smaller share of line pixels is rejected as ``blank_edges``.
    """

    threshold: float | None = Field(default=None, gt=0, lt=1)
    min_pixels: int = Field(default=5, ge=0, le=10_000)
    border: int = Field(default=98, ge=0, le=256)
    scale: int = Field(default=1, ge=1, le=4)
    min_density: float = Field(default=0.002, ge=0, lt=1)


class DatasetConfig(_StrictModel):
    """One catalogue entry.

    Attributes
    ----------
    name : str
        Lower-case words joined by ``-``, at most 64 characters; part of every key in the store.
    title : str
        Title, for display.
    source : LocalSource, HttpSource, KaggleSource or FigshareSource
        Where the files come from.
    selection : tuple of str
        Patterns as in a .gitignore file; matching source files are selected.
    choice : RandomSubset or None
        Random subset of the selected files; None for all of them.
    limit : int, 1 or more, or None
        Maximum number of files, always the same ones, for trial runs.
    tables : source or None
        Archive of DVM-CAR's tables, by which pictures can be selected; see ``sources.tables``.
    where : dict of str to tuple of str
        Accepted values by column of the tables.
    expected : int, 1 or more, or None
        Expected number of selected files.
    expected_in : dict of str to int
        Expected number of files by pattern, for parts of the selection.
    license : str
        License as the authors state it.
    terms : str or None
        Further terms of use.
    homepage : str or None
        URL of the data set's homepage.
    restricted : bool
        Whether the license is not open, or is unknown, and has to be accepted once.
    geometry : Geometry
        How pictures are fitted to the square.
    edges : EdgeSettings
        How line drawings are extracted.
    paired : bool
        Whether the files are published pairs, drawing and picture side by side. Such pairs are
        used as they are.
    re_extract : bool
        Whether only the picture of a published pair is used, and its edges are extracted.
    val_share : float, 0 to 0.5
        Fraction of the pictures that are used for validation.
    validation : tuple of str
        Patterns of the files that are used for validation, instead of ``val_share``.
    max_pixels : int, pixels, 1 or more
        A larger picture is rejected before it is decoded.
    shard_size : int, 1 to 256
        Source files per shard.
    recipe : Recipe
        Recipe for training; only the fields that the entry sets differ from the defaults.
    sketches : str or None
        Folder or archive of hand-drawn sketches that are not used for training; sample images of
        a run are generated from them. A relative path starts at the catalogue file's folder.
    archive : str or None
        Folder or archive on this machine that replaces the source.
    tables_archive : str or None
        Folder or archive on this machine that replaces the source of the tables.
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
        """Whether line drawings are extracted instead of published."""
        return not self.paired or self.re_extract

    @property
    def num_files(self) -> int | None:
        """Expected number of files after subset and limit; None if unknown."""
        total = self.expected or sum(self.expected_in.values()) or None
        if self.choice is not None:
            total = self.choice.count
        return min(total, self.limit) if total and self.limit else total

    @property
    def origin(self) -> str:
        """Source as one line: a path, or the JSON of a remote source."""
        if isinstance(self.source, LocalSource):
            return self.archive or self.source.path
        display_only = {"approximate_size", "max_files", "file_label"}
        facts = self.source.model_dump(exclude_none=True, exclude=display_only)
        return json.dumps(facts, sort_keys=True)
