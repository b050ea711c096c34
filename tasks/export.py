"""A published pair set as files that other trainers read."""

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.errors import InputError, SourceError, StorageError
from sources import DataSet
from storage import ObjectStore
from storage.local import sync
from storage.manifest import Row
from storage.pair_sets import locate_pairs, read_manifest, read_settings
from tasks.bounded_map import map_ahead
from tasks.export_card import write_card
from tasks.export_formats import FORMATS, Files, FormatName
from tasks.progress import advance, bar

# Some MB of pairs wait between reading and writing, however many there are.
_AHEAD = 64


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes
    ----------
    folder : where it is, absolute.
    train, val : pairs on each side.
    """

    folder: Path
    train: int
    val: int


def export_pairs(
    store: ObjectStore, dataset: DataSet, fingerprint: str, folder: Path, form: FormatName
) -> Export:
    """Write all pairs of a published set into a folder, which appears when it is complete.

    Parameters
    ----------
    store : holds the pair set.
    dataset, fingerprint : which one.
    folder : new, or empty.
    form : what the files are to be.

    Raises
    ------
    InputError
        If the folder is not empty, or cannot be replaced as a whole.
    NotFoundError
        If there is no such pair set, or its pairs are gone.
    SourceError
        If it holds no pair.
    IntegrityError
        If a stored pair is damaged.
    StorageError
        If the folder cannot be written.
    """
    rows = [row for row in read_manifest(store, dataset.name, fingerprint) if row.status == "pair"]
    if not rows:
        raise SourceError(
            f"Pair set {fingerprint} of {dataset.name} holds no pair; the report beside it says "
            "why."
        )
    # Those of one shard together.
    rows.sort(key=lambda row: (row.shard, row.split, row.id))
    settings = read_settings(store, dataset.name, fingerprint)
    stored = locate_pairs(store, dataset.name, fingerprint, settings)
    encode, writing = FORMATS[form].encode, FORMATS[form].writing

    def work(item: tuple[Row, bytes]) -> tuple[Row, Files]:
        row, content = item
        return row, encode(content, stored.drawing)

    name = f"{dataset.name}: export"
    place = folder.expanduser().resolve()
    with _making(place) as unfinished, bar(name, len(rows), "pairs"):
        with writing(unfinished) as add, ThreadPoolExecutor(thread_name_prefix="export") as pool:
            for row, files in map_ahead(pool, work, stored.stream(rows), _AHEAD):
                add(row, files)
                advance(name)
        splits = Counter(row.split for row in rows)
        card = write_card(store, dataset, fingerprint, settings, form, splits)
        (unfinished / "README.md").write_text(card, encoding="utf-8")
    return Export(place, splits["train"], splits["val"])


@contextmanager
def _making(folder: Path) -> Iterator[Path]:
    """Give a folder that takes this one's name when the block has ended well, or else goes."""
    unfinished = None
    try:
        _check_place(folder)
        # Where the folders above are still to be made, they are made last, too.
        above = next(parent for parent in folder.parents if parent.exists())
        unfinished = above / f".icanvas-export-{uuid.uuid4().hex}"
        unfinished.mkdir()
        yield unfinished
        # Once for all: a call for each of many small files takes several times as long.
        os.sync()
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished.replace(folder)
        sync(folder.parent)
    except OSError as error:
        raise StorageError(
            f"The export cannot be written to {folder}: {error.strerror}. Check space and "
            "permissions, or name another folder; nothing of it was left."
        ) from error
    finally:
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)


def _check_place(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file. Name a folder that is new or empty.")
    if any(folder.iterdir()):
        raise InputError(f"{folder} is not empty. Name a folder that is new, or empty this one.")
    if folder.is_mount() or folder == Path.cwd():
        raise InputError(
            f"{folder} is a mount point or the folder you are in, which cannot be replaced. Name "
            "a new folder in it."
        )
