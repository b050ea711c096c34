"""Export formats: the encoding of pairs and the layout of the files."""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from PIL import Image

from postprocess import (
    PAIR_SIZE,
    DrawingSide,
    decode_pair,
    encode_jpeg,
    encode_png,
    join_pair,
    split_pair,
)
from storage.manifest import ManifestRow
from storage.shards import ShardWriter

FormatName = Literal["folder", "hf", "webdataset"]

# Content of a pair's files by suffix. A file name is the pair's id, a dot and the suffix.
PairFiles = Mapping[str, bytes]
AddPair = Callable[[ManifestRow, PairFiles], None]

_JPEG_QUALITY = 95
# A shard has about 60 MB, and at most 200 MB.
_SAMPLES_PER_SHARD = 1000
# The Hugging Face Hub limits folders to 10,000 entries.
_PAIRS_PER_FOLDER = 1000
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class ExportFormat:
    """An export format.

    Attributes
    ----------
    encode : callable
        ``encode(content, drawing)`` returns the files of a pair, given its stored bytes and the
        side of its drawing. Thread-safe.
    open_writer : callable
        ``open_writer(folder)`` returns a context manager that yields a function that adds one pair.
    """

    encode: Callable[[bytes, DrawingSide], PairFiles]
    open_writer: Callable[[Path], AbstractContextManager[AddPair]]


def encode_side_by_side(content: bytes, drawing: DrawingSide) -> PairFiles:
    """Encode a pair as one JPEG with the drawing on the left.

    A published JPEG that already has this layout is returned unchanged.

    Parameters
    ----------
    content : bytes
        Stored pair, a PNG or JPEG.
    drawing : {'left', 'right'}
        Side of the drawing in the stored pair.

    Returns
    -------
    dict of str to bytes
        The JPEG, with key ``jpg``.

    Raises
    ------
    IntegrityError
        If `content` is not a complete picture.
    """
    if drawing == "left" and _is_plain_jpeg(content):
        return {"jpg": content}
    lines, picture = split_pair(decode_pair(content), drawing)
    return {"jpg": encode_jpeg(join_pair(lines, picture), _JPEG_QUALITY, "4:4:4")}


def encode_separately(content: bytes, drawing: DrawingSide) -> PairFiles:
    """Encode the drawing of a pair as PNG (lossless) and the picture as JPEG.

    Parameters
    ----------
    content : bytes
        Stored pair, a PNG or JPEG.
    drawing : {'left', 'right'}
        Side of the drawing in the stored pair.

    Returns
    -------
    dict of str to bytes
        The files, with keys ``drawing.png`` and ``picture.jpg``.

    Raises
    ------
    IntegrityError
        If `content` is not a complete picture.
    """
    lines, picture = split_pair(decode_pair(content), drawing)
    return {
        "drawing.png": encode_png(lines),
        "picture.jpg": encode_jpeg(picture, _JPEG_QUALITY, "4:4:4"),
    }


def _is_plain_jpeg(content: bytes) -> bool:
    """Return whether a file is a 512×256 JPEG, RGB or gray, without an EXIF rotation."""
    if not content.startswith(_JPEG_SIGNATURE):
        return False
    with Image.open(io.BytesIO(content)) as image:
        return (
            image.mode in ("RGB", "L")
            and image.size == (2 * PAIR_SIZE, PAIR_SIZE)
            and image.getexif().get(_EXIF_ORIENTATION, 1) == 1
        )


@contextmanager
def open_folder_writer(folder: Path) -> Iterator[AddPair]:
    """Write one JPEG per pair, for example ``train/00000012.jpg``, and ``metadata.jsonl``.

    Parameters
    ----------
    folder : Path
        Existing folder.

    Yields
    ------
    callable
        ``add_pair(row, files)`` writes one pair.
    """
    # Not in the folders of the splits: some trainers read every file there as a picture.
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as table:

        def add(row: ManifestRow, files: PairFiles) -> None:
            name = f"{row.split}/{row.id}.jpg"
            _write_file(folder / name, files["jpg"])
            _write_json_line(table, {"file_name": name, **_get_metadata(row)})

        yield add


@contextmanager
def open_imagefolder_writer(folder: Path) -> Iterator[AddPair]:
    """Write pictures, drawings and a ``metadata.jsonl`` per split, for Hugging Face's ImageFolder.

    The files of a pair are, for example, ``train/pictures/00000/00000012.jpg`` and
    ``train/drawings/00000/00000012.png``.

    Parameters
    ----------
    folder : Path
        Existing folder.

    Yields
    ------
    callable
        ``add_pair(row, files)`` writes one pair.
    """
    with ExitStack() as stack:
        tables: dict[str, TextIO] = {}

        def add(row: ManifestRow, files: PairFiles) -> None:
            split = _get_split(row)
            stem = f"{int(row.id) // _PAIRS_PER_FOLDER:05d}/{row.id}"
            # ImageFolder creates an image column for every key that ends in file_name.
            names = {
                "file_name": f"pictures/{stem}.jpg",
                "drawing_file_name": f"drawings/{stem}.png",
            }
            _write_file(folder / split / names["file_name"], files["picture.jpg"])
            _write_file(folder / split / names["drawing_file_name"], files["drawing.png"])
            if split not in tables:
                table = (folder / split / "metadata.jsonl").open("w", encoding="utf-8")
                tables[split] = stack.enter_context(table)
            _write_json_line(tables[split], {**names, **_get_metadata(row)})

        yield add


@contextmanager
def open_webdataset_writer(folder: Path) -> Iterator[AddPair]:
    """Write WebDataset shards, for example ``train-000000.tar``.

    Each sample consists of a drawing, a picture and metadata.

    Parameters
    ----------
    folder : Path
        Existing folder.

    Yields
    ------
    callable
        ``add_pair(row, files)`` writes one pair.
    """
    with ExitStack() as stack:
        writers: dict[str, _SplitWriter] = {}

        def add(row: ManifestRow, files: PairFiles) -> None:
            split = _get_split(row)
            if split not in writers:
                writers[split] = stack.enter_context(_SplitWriter(folder, split))
            metadata = json.dumps(_get_metadata(row)).encode()
            # WebDataset readers expect the files of a sample sorted by name.
            writers[split].add(row.id, sorted({**files, "json": metadata}.items()))

        yield add


FORMATS: dict[FormatName, ExportFormat] = {
    "folder": ExportFormat(encode_side_by_side, open_folder_writer),
    "hf": ExportFormat(encode_separately, open_imagefolder_writer),
    "webdataset": ExportFormat(encode_separately, open_webdataset_writer),
}


def list_shard_names(split: str, samples: int) -> list[str]:
    """Return the names of a split's shards in the webdataset format.

    Parameters
    ----------
    split : str
        ``train`` or ``val``.
    samples : int
        Number of samples of the split, at least 0.

    Returns
    -------
    list of str
        File names in ascending order.

    Examples
    --------
    >>> list_shard_names("train", 1001)
    ['train-000000.tar', 'train-000001.tar']
    """
    return [f"{split}-{number:06d}.tar" for number in range(-(-samples // _SAMPLES_PER_SHARD))]


class _SplitWriter(ExitStack):
    """Writes the shards of one split sequentially."""

    def __init__(self, folder: Path, split: str) -> None:
        super().__init__()
        self._folder, self._split = folder, split
        self._samples = 0

    def add(self, key: str, files: Iterable[tuple[str, bytes]]) -> None:
        if self._samples % _SAMPLES_PER_SHARD == 0:
            self.close()
            name = f"{self._split}-{self._samples // _SAMPLES_PER_SHARD:06d}.tar"
            file = self.enter_context((self._folder / name).open("wb"))
            self._shard = self.enter_context(ShardWriter(file))
        for suffix, data in files:
            self._shard.add(f"{key}.{suffix}", data)
        self._samples += 1


def _get_metadata(row: ManifestRow) -> dict[str, object]:
    return {
        "id": row.id,
        "source_path": row.source_path,
        "width": row.width,
        "height": row.height,
        "edge_density": row.edge_density,
    }


def _get_split(row: ManifestRow) -> str:
    assert row.split is not None, "a pair has a split"
    return row.split


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write_json_line(table: TextIO, values: dict[str, object]) -> None:
    # ASCII only: a path may contain Unicode line separators.
    table.write(json.dumps(values) + "\n")
