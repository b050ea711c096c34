"""Published pair sets, and the pointer to the one in use."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict

from config.errors import (
    ConflictError,
    CorruptObjectError,
    IntegrityError,
    NotFoundError,
    StorageError,
)
from storage import keys
from storage.json_objects import read_json
from storage.manifest import ManifestRow, PairIndex, pair_index_from_parquet, rows_from_parquet
from storage.pins import ensure_pinned, pin
from storage.raw_sets import read_origin
from storage.shards import read_member
from storage.store import ObjectStore, get_or_none


class CurrentPairs(BaseModel):
    """Content of ``current.json``: the pair set in use.

    Attributes
    ----------
    fingerprint : name of the pair set.
    source : where its files came from, as one line: a path, or JSON of a source on the network.
    train, val : how many pairs it holds; null where nobody counted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: str
    source: str
    train: int | None = None
    val: int | None = None


@dataclass(frozen=True)
class PublishedPairSet:
    """One published pair set.

    Attributes
    ----------
    fingerprint, settings : which, and what it was made with.
    modified : when its manifest was written, by the store's clock.
    in_use : whether ``current.json`` points at it.
    """

    fingerprint: str
    settings: dict[str, Any]
    modified: datetime
    in_use: bool


@dataclass(frozen=True)
class PairReader:
    """Where the bytes of a pair set's pairs are, and how they are to be read.

    Pairs that we made lie in shards of their own. The files of a data set that came as pairs are
    not stored twice: they stay in the raw shards, as they were published.

    Attributes
    ----------
    store, dataset, fingerprint : which pair set.
    raw : fingerprint of the raw set that holds the pairs; None where they are in their own shards.
    drawing : the side of a stored pair that the drawing is on.
    """

    store: ObjectStore
    dataset: str
    fingerprint: str
    raw: str | None
    drawing_side: Literal["left", "right"]

    def key(self, row: ManifestRow) -> str:
        """Return the key of the shard that holds a row's pair."""
        return self.shard_key(row.shard, row.split)

    def shard_key(self, shard: int, split: str | None) -> str:
        """Return the key of the shard of that number that holds a split's pairs."""
        if self.raw is not None:
            return f"{keys.raw_folder(self.dataset, self.raw)}/{keys.shard_name(shard)}"
        folder = keys.pairs_folder(self.dataset, self.fingerprint)
        return f"{folder}/{keys.shard_name(shard, split)}"

    def read(self, row: ManifestRow) -> bytes:
        """Return a pair's bytes, which the store is asked for alone: for a few rows.

        Raises
        ------
        NotFoundError
            If its shard is not there any more.
        IntegrityError
            If the shard ends before the pair does.
        """
        assert row.offset is not None and row.size is not None, "a published pair has its place"
        return read_member(self.store, self.key(row), row.offset, row.size)

    def stream(self, rows: Iterable[ManifestRow]) -> Iterator[tuple[ManifestRow, bytes]]:
        """Yield rows with their pairs' bytes, opening a shard once for all its rows in a line.

        Raises
        ------
        NotFoundError
            If a shard is not there any more.
        IntegrityError
            If a shard ends before a pair does, or a published file is not what was acquired.
        StorageError
            If a shard cannot be read.
        """
        for key, group in groupby(rows, self.key):
            try:
                with self.store.local_copy(key) as path, path.open("rb") as shard:
                    for row in group:
                        yield row, self._read_from(shard, row)
            except OSError as error:
                raise StorageError(
                    f"{self.store.location(key)} cannot be read: {error.strerror}. Check its "
                    "permissions and disk."
                ) from error

    def is_intact(self, data: bytes, size: int, sha256: str | None) -> bool:
        """Tell whether a stored pair's bytes are as they were published.

        Parameters
        ----------
        data : what was read.
        size, sha256 : how many bytes there are to be, and their hexadecimal SHA-256.
        """
        # A PNG of ours has checksums of its own, a published JPEG none.
        is_png = self.raw is None
        return len(data) == size and (is_png or hashlib.sha256(data).hexdigest() == sha256)

    def _read_from(self, shard: BinaryIO, row: ManifestRow) -> bytes:
        assert row.offset is not None and row.size is not None, "a published pair has its place"
        shard.seek(row.offset)
        data = shard.read(row.size)
        if not self.is_intact(data, row.size, row.sha256):
            raise IntegrityError(
                f"{self.store.location(self.key(row))} is damaged at {row.source_path!r}. Delete "
                f"its folder and run `icanvas prepare {self.dataset}`."
            )
        return data


def read_current(store: ObjectStore, dataset: str) -> CurrentPairs | None:
    """Return the pointer to a data set's pair set in use; None where nothing was published.

    Raises
    ------
    IntegrityError
        If the pointer cannot be read.
    """
    remedy = f"run `icanvas prepare {dataset}`"
    return read_json(store, keys.current_pairs(dataset), CurrentPairs, remedy)


def swap_current(
    store: ObjectStore,
    dataset: str,
    target: CurrentPairs,
    previous: CurrentPairs | None = None,
) -> None:
    """Point at another pair set.

    Parameters
    ----------
    store, dataset : which pointer.
    chosen : what to point at.
    before : what was pointed at when that was begun; None for nothing.

    Raises
    ------
    ConflictError
        If someone else moved the pointer meanwhile; then it stays as they left it.
    """
    key = keys.current_pairs(dataset)
    content = get_or_none(store, key)
    new_content = target.model_dump_json().encode()
    if content == new_content:
        return
    conflict = ConflictError(
        f"Another pair set of {dataset} came into use while {target.fingerprint} was made, which "
        "is complete beside it. Run the same again to use it."
    )
    current = read_current(store, dataset)
    if current == target:
        return  # A twin that made the same pair set, since the first look.
    if current != previous:
        raise conflict
    try:
        store.compare_and_swap(key, new_content, content)
    except ConflictError:
        # A twin that made the same pair set is no conflict.
        if store.get(key) != new_content:
            raise conflict from None


def is_published(store: ObjectStore, dataset: str, fingerprint: str) -> bool:
    """Tell whether a pair set is complete: its manifest is written last."""
    return store.exists(keys.manifest(dataset, fingerprint))


def read_manifest(store: ObjectStore, dataset: str, fingerprint: str) -> list[ManifestRow]:
    """Return the rows of a published pair set.

    Raises
    ------
    NotFoundError
        If there is no such pair set, or it is not complete.
    CorruptObjectError
        If its manifest is damaged.
    """
    with _open_manifest(store, dataset, fingerprint) as content:
        return rows_from_parquet(content)


def read_pair_index(store: ObjectStore, dataset: str, fingerprint: str, split: str) -> PairIndex:
    """Return where the pairs of a published pair set's split lie; errors as ``read_manifest``."""
    with _open_manifest(store, dataset, fingerprint) as content:
        return pair_index_from_parquet(content, split)


@contextmanager
def _open_manifest(store: ObjectStore, dataset: str, fingerprint: str) -> Iterator[bytes]:
    """Give a manifest's bytes to a block that reads them, and explain what goes wrong with it."""
    try:
        yield store.get(keys.manifest(dataset, fingerprint))
    except NotFoundError:
        raise NotFoundError(
            f"There is no pair set {fingerprint} of {dataset} in {store.url}. "
            f"Run `icanvas prepare {dataset}`."
        ) from None
    except CorruptObjectError:
        raise CorruptObjectError(
            f"The manifest of pair set {fingerprint} of {dataset} in {store.url} is damaged. "
            f"Run `icanvas prepare {dataset}` to make it anew."
        ) from None


def read_settings(store: ObjectStore, dataset: str, fingerprint: str) -> dict[str, Any]:
    """Return what a pair set was made with, as ``settings.json`` holds it."""
    settings: dict[str, Any] = json.loads(store.get(keys.pair_settings(dataset, fingerprint)))
    return settings


def list_pair_sets(store: ObjectStore, dataset: str) -> list[PublishedPairSet]:
    """Return the complete pair sets of a data set, the newest first."""
    current = read_current(store, dataset)
    in_use = None if current is None else current.fingerprint
    pair_sets = []
    for info in store.list_objects(keys.all_pairs_folder(dataset)):
        name = info.key.split("/")[-2]
        if info.key == keys.manifest(dataset, name):
            settings = read_settings(store, dataset, name)
            pair_sets.append(PublishedPairSet(name, settings, info.modified, name == in_use))
    return sorted(pair_sets, key=lambda pairs: pairs.modified, reverse=True)


def use_pair_set(store: ObjectStore, dataset: str, fingerprint: str) -> CurrentPairs:
    """Point at a published pair set; nothing is extracted and nothing removed.

    Raises
    ------
    NotFoundError
        If there is no such pair set, or it is not complete; the message lists those that are.
    ConflictError
        If someone else moved the pointer in this moment, or `icanvas gc` is removing the set.
    """
    previous = read_current(store, dataset)
    if not is_published(store, dataset, fingerprint):
        available = (
            ", ".join(pairs.fingerprint for pairs in list_pair_sets(store, dataset)) or "none"
        )
        raise NotFoundError(
            f"{store.url} holds no complete pair set {fingerprint!r} of {dataset}. "
            f"There is: {available}."
        )
    settings = read_settings(store, dataset, fingerprint)
    pin(store, dataset, fingerprint, settings)
    rows = read_manifest(store, dataset, fingerprint)
    splits = [row.split for row in rows if row.status == "pair"]
    origin = read_origin(store, keys.raw_origin(dataset, settings["raw"]))
    source = (
        origin.source if origin is not None else previous.source if previous is not None else ""
    )
    target = CurrentPairs(
        fingerprint=fingerprint,
        source=source,
        train=splits.count("train"),
        val=splits.count("val"),
    )
    swap_current(store, dataset, target, previous)
    ensure_pinned(store, dataset, fingerprint)
    return target


def latest_revision(store: ObjectStore, dataset: str, settings: Mapping[str, Any]) -> int | None:
    """Return the newest published revision of a pair set, None where there is none.

    Parameters
    ----------
    store, dataset : where to look.
    settings : what it is made with, in any revision.
    """
    expected = {**json.loads(json.dumps(settings)), "revision": None}
    revisions = []
    for key in store.list_keys(keys.all_pairs_folder(dataset)):
        name = key.split("/")[-2]
        if key == keys.manifest(dataset, name):
            # What cannot be read, or is being removed, is not found.
            with suppress(NotFoundError, CorruptObjectError, ValueError):
                stored = read_settings(store, dataset, name)
                if {**stored, "revision": None} == expected:
                    revisions.append(int(stored.get("revision", 0)))
    return max(revisions, default=None)


def open_pairs(
    store: ObjectStore,
    dataset: str,
    fingerprint: str,
    settings: Mapping[str, Any] | None = None,
) -> PairReader:
    """Return where a pair set's pairs are.

    Parameters
    ----------
    store, dataset, fingerprint : which pair set.
    settings : what it is made with; read from the store when left out.

    Raises
    ------
    NotFoundError
        If it is not in the store.
    """
    if settings is None:
        settings = read_settings(store, dataset, fingerprint)
    if settings.get("stored") == "raw":
        raw, drawing = settings["raw"], settings["drawing"]
        return PairReader(store, dataset, fingerprint, raw, drawing)
    return PairReader(store, dataset, fingerprint, raw=None, drawing_side="left")


def list_prepared_datasets(store: ObjectStore) -> list[str]:
    """Return the names of all data sets with a pair set in use, in order."""
    keys_in_order = store.list_keys("datasets")
    return [key.split("/")[1] for key in keys_in_order if key.endswith("/pairs/current.json")]
