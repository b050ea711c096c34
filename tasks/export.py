"""Exports a published pair set to files for other training programs."""

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
from sources import DatasetConfig
from storage import ObjectStore
from storage.local import fsync
from storage.manifest import ManifestRow
from storage.pair_reader import open_pairs
from storage.pair_sets import read_manifest, read_settings
from tasks.bounded_map import bounded_map
from tasks.export_card import render_dataset_card
from tasks.export_formats import FORMATS, FormatName, PairFiles
from tasks.progress import advance, progress_bar

# Encoded pairs in the write queue, a few MB in total.
_MAX_PENDING = 64


@dataclass(frozen=True)
class ExportedPairs:
    """Result of an export.

    Attributes
    ----------
    folder : Path
        Absolute path of the export.
    train : int
        Number of training pairs.
    val : int
        Number of validation pairs.
    """

    folder: Path
    train: int
    val: int


def export_pairs(
    store: ObjectStore,
    dataset: DatasetConfig,
    fingerprint: str,
    folder: Path,
    format_name: FormatName,
) -> ExportedPairs:
    """Write all pairs of a published pair set to a folder.

    The export is atomic: the folder is created or replaced after all files are written.

    Parameters
    ----------
    store : ObjectStore
        Store that contains the pair set.
    dataset : DatasetConfig
        Data set of the pairs.
    fingerprint : str
        Fingerprint of the pair set.
    folder : Path
        Folder that does not exist or is empty.
    format_name : {'folder', 'hf', 'webdataset'}
        Format of the files; see ``tasks.export_formats``.

    Returns
    -------
    ExportedPairs
        Folder and number of pairs.

    Raises
    ------
    InputError
        If the folder is not empty or cannot be replaced.
    NotFoundError
        If the pair set or one of its shards does not exist.
    SourceError
        If the pair set contains no pairs.
    IntegrityError
        If a stored pair is corrupt.
    StorageError
        If the folder cannot be written.
    """
    rows = [row for row in read_manifest(store, dataset.name, fingerprint) if row.status == "pair"]
    if not rows:
        raise SourceError(
            f"Pair set {fingerprint} of {dataset.name} contains no pairs. See its report for the "
            "reasons."
        )
    # In this order, each shard is read once.
    rows.sort(key=lambda row: (row.shard, row.split, row.id))
    settings = read_settings(store, dataset.name, fingerprint)
    reader = open_pairs(store, dataset.name, fingerprint, settings)
    encode, open_writer = FORMATS[format_name].encode, FORMATS[format_name].open_writer

    def encode_item(item: tuple[ManifestRow, bytes]) -> tuple[ManifestRow, PairFiles]:
        row, content = item
        return row, encode(content, reader.drawing_side)

    bar_name = f"{dataset.name}: export"
    target = folder.expanduser().resolve()
    with _atomic_folder(target) as unfinished, progress_bar(bar_name, len(rows), "pairs"):
        with (
            open_writer(unfinished) as add_pair,
            ThreadPoolExecutor(thread_name_prefix="export") as pool,
        ):
            for row, files in bounded_map(pool, encode_item, reader.stream(rows), _MAX_PENDING):
                add_pair(row, files)
                advance(bar_name)
        splits = Counter(row.split for row in rows)
        card = render_dataset_card(store, dataset, fingerprint, settings, format_name, splits)
        (unfinished / "README.md").write_text(card, encoding="utf-8")
    return ExportedPairs(target, splits["train"], splits["val"])


@contextmanager
def _atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `folder` on success, and removed on failure."""
    unfinished = None
    try:
        _check_target(folder)
        # Missing parent folders are created at the end, so a failed export leaves no folders.
        existing_parent = next(parent for parent in folder.parents if parent.exists())
        unfinished = existing_parent / f".icanvas-export-{uuid.uuid4().hex}"
        unfinished.mkdir()
        yield unfinished
        # One sync for all files: an fsync per small file takes several times as long.
        os.sync()
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished.replace(folder)
        fsync(folder.parent)
    except OSError as error:
        raise StorageError(
            f"The export cannot be written to {folder}: {error.strerror}. Check space and "
            "permissions, or name another folder. Partial files were removed."
        ) from error
    finally:
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)


def _check_target(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file. Name a new or empty folder.")
    if any(folder.iterdir()):
        raise InputError(f"{folder} is not empty. Name a new folder, or empty this one.")
    if folder.is_mount() or folder == Path.cwd():
        raise InputError(
            f"{folder} is a mount point or the current directory, which cannot be replaced. Name "
            "a new folder in it."
        )
