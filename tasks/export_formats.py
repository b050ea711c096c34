"""The formats of an export: how a pair is encoded, and which file it goes into."""

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
    Side,
    decode_pair,
    encode_jpeg,
    encode_png,
    join_pair,
    split_pair,
)
from storage.manifest import Row
from storage.shards import ShardWriter

FormatName = Literal["folder", "hf", "webdataset"]

# A pair's files, by what follows its id in their names.
Files = Mapping[str, bytes]
Add = Callable[[Row, Files], None]

_QUALITY = 95
# 60 MB a shard or so, at most 200.
_SHARD_SAMPLES = 1000
# The Hub wants fewer than 10,000 entries a folder.
_FOLDER_IDS = 1000
_JPEG = b"\xff\xd8\xff"
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    encode : makes a pair's files of its stored bytes and the side that its drawing is on; any
        thread may call it.
    writing : gives, for the time of a ``with`` block, what adds a pair to a folder.
    """

    encode: Callable[[bytes, Side], Files]
    writing: Callable[[Path], AbstractContextManager[Add]]


def encode_whole(content: bytes, drawing: Side) -> Files:
    """Return a pair as one JPEG with the drawing left: a published one as it is, where it can be.

    Raises
    ------
    IntegrityError
        If the bytes are not a complete picture.
    """
    if drawing == "left" and _is_plain_jpeg(content):
        return {"jpg": content}
    lines, picture = split_pair(decode_pair(content), drawing)
    return {"jpg": encode_jpeg(join_pair(lines, picture), _QUALITY, "4:4:4")}


def encode_halves(content: bytes, drawing: Side) -> Files:
    """Return a pair's drawing as PNG, which keeps it exactly, and its picture as JPEG.

    Raises
    ------
    IntegrityError
        If the bytes are not a complete picture.
    """
    lines, picture = split_pair(decode_pair(content), drawing)
    return {
        "drawing.png": encode_png(lines),
        "picture.jpg": encode_jpeg(picture, _QUALITY, "4:4:4"),
    }


def _is_plain_jpeg(content: bytes) -> bool:
    """Tell whether every reader sees a pair of ours in it, also one that turns nothing by EXIF."""
    if not content.startswith(_JPEG):
        return False
    with Image.open(io.BytesIO(content)) as image:
        return (
            image.mode in ("RGB", "L")
            and image.size == (2 * PAIR_SIZE, PAIR_SIZE)
            and image.getexif().get(_ORIENTATION, 1) == 1
        )


@contextmanager
def write_folder(folder: Path) -> Iterator[Add]:
    """Write ``train/00000012.jpg`` …, and beside the splits' folders what is known of each."""
    # Not in them: some trainers take every file there for a picture.
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as table:

        def add(row: Row, files: Files) -> None:
            name = f"{row.split}/{row.id}.jpg"
            _write(folder / name, files["jpg"])
            _write_line(table, {"file_name": name, **_facts(row)})

        yield add


@contextmanager
def write_imagefolder(folder: Path) -> Iterator[Add]:
    """Write ``train/pictures/00000/00000012.jpg``, its drawing, and ``train/metadata.jsonl``."""
    with ExitStack() as held:
        tables: dict[str, TextIO] = {}

        def add(row: Row, files: Files) -> None:
            split = _split(row)
            place = f"{int(row.id) // _FOLDER_IDS:05d}/{row.id}"
            # *_file_name makes a column of pictures of its own: ImageFolder's convention.
            names = {
                "file_name": f"pictures/{place}.jpg",
                "drawing_file_name": f"drawings/{place}.png",
            }
            _write(folder / split / names["file_name"], files["picture.jpg"])
            _write(folder / split / names["drawing_file_name"], files["drawing.png"])
            if split not in tables:
                table = (folder / split / "metadata.jsonl").open("w", encoding="utf-8")
                tables[split] = held.enter_context(table)
            _write_line(tables[split], {**names, **_facts(row)})

        yield add


@contextmanager
def write_webdataset(folder: Path) -> Iterator[Add]:
    """Write ``train-000000.tar`` … of samples of a drawing, a picture and what is known of it."""
    with ExitStack() as held:
        shards: dict[str, _Shards] = {}

        def add(row: Row, files: Files) -> None:
            split = _split(row)
            if split not in shards:
                shards[split] = held.enter_context(_Shards(folder, split))
            facts = json.dumps(_facts(row)).encode()
            # Sorted by name, as their readers want them.
            shards[split].add(row.id, sorted({**files, "json": facts}.items()))

        yield add


FORMATS: dict[FormatName, Format] = {
    "folder": Format(encode_whole, write_folder),
    "hf": Format(encode_halves, write_imagefolder),
    "webdataset": Format(encode_halves, write_webdataset),
}


def shard_names(split: str, samples: int) -> list[str]:
    """Return the names of a split's shards in the webdataset format."""
    return [f"{split}-{number:06d}.tar" for number in range(-(-samples // _SHARD_SAMPLES))]


class _Shards(ExitStack):
    """The shards of one split, one after the other; the last is complete when the block ends."""

    def __init__(self, folder: Path, split: str) -> None:
        super().__init__()
        self._folder, self._split = folder, split
        self._samples = 0

    def add(self, key: str, files: Iterable[tuple[str, bytes]]) -> None:
        if self._samples % _SHARD_SAMPLES == 0:
            self.close()
            name = f"{self._split}-{self._samples // _SHARD_SAMPLES:06d}.tar"
            file = self.enter_context((self._folder / name).open("wb"))
            self._shard = self.enter_context(ShardWriter(file))
        for suffix, data in files:
            self._shard.add(f"{key}.{suffix}", data)
        self._samples += 1


def _facts(row: Row) -> dict[str, object]:
    return {
        "id": row.id,
        "source_path": row.source_path,
        "width": row.width,
        "height": row.height,
        "edge_density": row.edge_density,
    }


def _split(row: Row) -> str:
    assert row.split is not None, "a pair has one"
    return row.split


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write_line(table: TextIO, facts: dict[str, object]) -> None:
    # In ASCII: a path may hold what some readers take for the end of a line.
    table.write(json.dumps(facts) + "\n")
