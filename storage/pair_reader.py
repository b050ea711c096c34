"""``PairReader``: the bytes of a pair set's pairs, wherever they are stored."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, BinaryIO, Literal

from config.errors import IntegrityError, StorageError
from storage import keys
from storage.manifest import ManifestRow
from storage.pair_sets import read_settings
from storage.shards import read_member
from storage.store import ObjectStore


@dataclass(frozen=True)
class PairReader:
    """Read the pairs of a pair set, wherever their bytes are stored.

    Pairs that were extracted are stored in shards of the pair set. The files of a data set that was
    published as pairs are not stored twice: they stay in the raw shards, unchanged.

    Attributes
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set.
    raw : str or None
        Fingerprint of the raw set that holds the pairs; None if the pair set has its own shards.
    drawing_side : {'left', 'right'}
        Side of a stored pair on which the drawing is.
    """

    store: ObjectStore
    dataset: str
    fingerprint: str
    raw: str | None
    drawing_side: Literal["left", "right"]

    def key(self, row: ManifestRow) -> str:
        """Return the key of the shard that holds a row's pair.

        Parameters
        ----------
        row : ManifestRow
            A pair.
        """
        return self.shard_key(row.shard, row.split)

    def shard_key(self, shard: int, split: str | None) -> str:
        """Return the key of a shard.

        Parameters
        ----------
        shard : int, ≥ 0
            Number of the shard.
        split : str or None
            Split of the pairs in it. Raw shards do not depend on it.
        """
        if self.raw is not None:
            return f"{keys.raw_folder(self.dataset, self.raw)}/{keys.shard_name(shard)}"
        folder = keys.pairs_folder(self.dataset, self.fingerprint)
        return f"{folder}/{keys.shard_name(shard, split)}"

    def read(self, row: ManifestRow) -> bytes:
        """Read one pair, as a request of its own. For many rows use ``stream``.

        Parameters
        ----------
        row : ManifestRow
            A pair.

        Returns
        -------
        bytes
            An image file: 512×256 pixels, drawing and picture side by side.

        Raises
        ------
        NotFoundError
            If the shard no longer exists.
        CorruptObjectError
            If the shard ends before the pair does.
        """
        assert row.offset is not None and row.size is not None, "a published pair has a position"
        return read_member(self.store, self.key(row), row.offset, row.size)

    def stream(self, rows: Iterable[ManifestRow]) -> Iterator[tuple[ManifestRow, bytes]]:
        """Yield rows with their pairs' bytes. A shard is opened once for consecutive rows of it.

        Parameters
        ----------
        rows : iterable of ManifestRow
            Pairs, ordered by shard.

        Yields
        ------
        row : ManifestRow
            As given.
        data : bytes
            The pair as an image file.

        Raises
        ------
        NotFoundError
            If a shard no longer exists.
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
                    f"Reading {self.store.location(key)} failed: {error.strerror}. Check its "
                    "permissions and disk."
                ) from error

    def is_intact(self, data: bytes, size: int, sha256: str | None) -> bool:
        """Check whether a pair's bytes are those that were published.

        Parameters
        ----------
        data : bytes
            What was read.
        size : int, bytes
            Length that the manifest states.
        sha256 : str or None
            SHA-256 (hex) that the manifest states. It is compared only for pairs in raw shards.

        Returns
        -------
        bool
            False if the bytes are incomplete or differ.
        """
        # Our PNG files contain checksums; a published JPEG does not.
        is_png = self.raw is None
        return len(data) == size and (is_png or hashlib.sha256(data).hexdigest() == sha256)

    def _read_from(self, shard: BinaryIO, row: ManifestRow) -> bytes:
        assert row.offset is not None and row.size is not None, "a published pair has a position"
        shard.seek(row.offset)
        data = shard.read(row.size)
        if not self.is_intact(data, row.size, row.sha256):
            raise IntegrityError(
                f"{self.store.location(self.key(row))} is corrupt at {row.source_path!r}. Delete "
                f"its folder and run `icanvas prepare {self.dataset}`."
            )
        return data


def open_pairs(
    store: ObjectStore,
    dataset: str,
    fingerprint: str,
    settings: Mapping[str, Any] | None = None,
) -> PairReader:
    """Return a reader for the pairs of a pair set.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set.
    settings : mapping, optional
        Its settings. They are read from the store if omitted.

    Returns
    -------
    PairReader
        Also for a pair set that is not complete yet.

    Raises
    ------
    NotFoundError
        If the settings are omitted and the pair set is not in the store.
    """
    if settings is None:
        settings = read_settings(store, dataset, fingerprint)
    if settings.get("stored") == "raw":
        raw, drawing = settings["raw"], settings["drawing"]
        return PairReader(store, dataset, fingerprint, raw, drawing)
    return PairReader(store, dataset, fingerprint, raw=None, drawing_side="left")
