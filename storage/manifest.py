"""Manifests: tables with one row per source file, which is a pair or rejected with a reason."""

import io
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from config.errors import PREPARE_AGAIN, CorruptObjectError, IntegrityError
from storage.store import ObjectStore, get_or_none


class RejectReason(StrEnum):
    """Why a source file did not become a pair. The list is closed."""

    NOT_A_PICTURE = "not_a_picture"
    LINK = "link"
    UNDECODABLE = "undecodable"
    TOO_LARGE = "too_large"
    TOO_SMALL = "too_small"
    ASPECT = "aspect"
    DUPLICATE = "duplicate"
    BLANK_EDGES = "blank_edges"
    NOT_A_PAIR = "not_a_pair"


RowStatus = Literal["accepted", "pair", "rejected"]


@dataclass(slots=True)
class ManifestRow:
    """One source file.

    Attributes
    ----------
    id : str
        Number in the source's order, as eight digits.
    source_path : str
        Path in the source. Bytes that are not UTF-8 are escaped.
    shard : int, ≥ 0
        Number of the shard.
    status : {'accepted', 'pair', 'rejected'}
        ``accepted`` occurs only in a raw index, ``pair`` only in a manifest.
    reason : str or None
        Value of a ``RejectReason``; None unless rejected.
    detail : str or None
        What was found, for people; None unless rejected.
    sha256 : str or None
        SHA-256 (hex) of the file's bytes; None if the file was too large to be read.
    pixel_hash : str or None
        SHA-256 (hex) of the decoded pixels and their shape; None if not decoded.
    width, height : int, pixels, or None
        Size of the decoded picture; of its header if it was too large to be decoded.
    split : {'train', 'val'} or None
        From the pixel hash, or as the data set was published; None in a raw index and if not
        decoded.
    offset, size : int, bytes, or None
        Position in the shard's tar; None if not stored. ``storage.pair_reader.PairReader.key``
        returns the tar of a pair.
    edge_density : float in [0, 1], or None
        Share of line pixels in the drawing; None before edge extraction.
    """

    id: str
    source_path: str
    shard: int
    status: RowStatus = "accepted"
    reason: str | None = None
    detail: str | None = None
    sha256: str | None = None
    pixel_hash: str | None = None
    width: int | None = None
    height: int | None = None
    split: str | None = None
    offset: int | None = None
    size: int | None = None
    edge_density: float | None = None

    def reject(self, reason: RejectReason, detail: str) -> None:
        """Mark this row as rejected, and drop the position of its bytes.

        Parameters
        ----------
        reason : RejectReason
            Why.
        detail : str
            What was found, for people.
        """
        self.status, self.reason, self.detail = "rejected", reason.value, detail
        self.offset = self.size = None


_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source_path", pa.string()),
        ("sha256", pa.string()),
        ("pixel_hash", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("split", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("edge_density", pa.float64()),
    ]
)


# In the order of the constructor's arguments.
_ROW_FIELDS = [field.name for field in fields(ManifestRow)]


def rows_to_parquet(rows: Iterable[ManifestRow]) -> bytes:
    """Encode rows as Parquet. Equal rows give equal bytes.

    Parameters
    ----------
    rows : iterable of ManifestRow
        The rows.

    Returns
    -------
    bytes
        A Parquet file, compressed with zstd.
    """
    table = pa.Table.from_pydict(_to_columns(rows), schema=_SCHEMA)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def rows_from_parquet(data: bytes) -> list[ManifestRow]:
    """Decode rows from Parquet.

    Parameters
    ----------
    data : bytes
        As ``rows_to_parquet`` returns it.

    Returns
    -------
    list of ManifestRow
        In the order of the table.

    Raises
    ------
    CorruptObjectError
        If the bytes are not such a table.
    """
    # By column and in batches: a dictionary per row would take more time and memory.
    batches = _read_table(data, _ROW_FIELDS).to_batches(max_chunksize=1 << 16)
    return [
        ManifestRow(*values)
        for batch in batches
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]


@dataclass(frozen=True)
class PairIndex:
    """Positions of N pairs in their shards, in the manifest's order.

    It is all that training needs of the rows, at 64 bytes per pair.

    Attributes
    ----------
    shards : int32 array (N,)
        Number of the shard.
    positions : int32 array (N,)
        Index of the pair among its split's pairs in the shard, from 0.
    offsets, sizes : int64 arrays (N,), bytes
        Position in the shard's tar.
    densities : float64 array (N,)
        Share of line pixels in [0, 1]; NaN if unknown.
    digests : V32 array (N,)
        SHA-256 of the source file; zeros if unknown.
    """

    shards: NDArray[np.int32]
    positions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    densities: NDArray[np.float64]
    digests: NDArray[np.void]

    def __len__(self) -> int:
        return len(self.shards)

    def select(self, mask: NDArray[np.bool_]) -> "PairIndex":
        """Return the pairs that a mask selects.

        Parameters
        ----------
        mask : bool array (N,)
            True for the pairs to return.
        """
        return PairIndex(*(column[mask] for column in vars(self).values()))

    @property
    def total_bytes(self) -> int:
        """Total size of the shards in bytes, each up to the end of its last pair."""
        shards, inverse = np.unique(self.shards, return_inverse=True)
        ends = np.zeros(len(shards), np.int64)
        np.maximum.at(ends, inverse, self.offsets + self.sizes)
        return int(ends.sum())


def pair_index_from_parquet(data: bytes, split: str) -> PairIndex:
    """Decode the index of one split's pairs from a manifest.

    Parameters
    ----------
    data : bytes
        The manifest as Parquet.
    split : {'train', 'val'}
        Which pairs.

    Returns
    -------
    PairIndex
        In the order of the manifest.

    Raises
    ------
    CorruptObjectError
        If the bytes are not such a table.
    """
    table = _read_table(
        data, ["status", "split", "shard", "offset", "size", "edge_density", "sha256"]
    )
    mask = pc.and_(pc.equal(table["status"], "pair"), pc.equal(table["split"], split))
    table = table.filter(mask)
    shards = table["shard"].to_numpy()
    # A stable sort: the pairs of a shard need not be adjacent, but their order is kept.
    order = np.argsort(shards, kind="stable")
    _, starts, counts = np.unique(shards[order], return_index=True, return_counts=True)
    numbers = np.empty(len(shards), np.int32)
    numbers[order] = np.arange(len(shards)) - np.repeat(starts, counts)
    return PairIndex(
        shards,
        numbers,
        table["offset"].to_numpy(),
        table["size"].to_numpy(),
        table["edge_density"].to_numpy(),
        np.frombuffer(
            bytes.fromhex("".join(one or "0" * 64 for one in table["sha256"].to_pylist())), "V32"
        ),
    )


def _read_table(data: bytes, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(io.BytesIO(data), columns=columns, schema=_SCHEMA)
    except (pa.ArrowException, OSError) as error:
        raise CorruptObjectError(
            f"A stored table cannot be read ({error}). {PREPARE_AGAIN}"
        ) from error


def load_rows(store: ObjectStore, key: str) -> list[ManifestRow] | None:
    """Read a stored table that can be rebuilt if it is missing.

    Parameters
    ----------
    store : ObjectStore
        The store.
    key : str
        Key of the table.

    Returns
    -------
    list of ManifestRow or None
        None if the table is missing or corrupt, and so must be rebuilt.
    """
    try:
        content = get_or_none(store, key)
        return None if content is None else rows_from_parquet(content)
    except CorruptObjectError:
        return None


def rows_to_dataframe(rows: Iterable[ManifestRow]) -> pd.DataFrame:
    """Convert rows to a data frame with the manifest's columns.

    Parameters
    ----------
    rows : iterable of ManifestRow
        The rows.
    """
    return pd.DataFrame(_to_columns(rows))


def _to_columns(rows: Iterable[ManifestRow]) -> dict[str, list[Any]]:
    # Not dataclasses.asdict, whose copies take ten times as long.
    rows = list(rows)
    return {name: [getattr(row, name) for row in rows] for name in _SCHEMA.names}


def assign_split(pixel_hash: str, val_share: float) -> str:
    """Assign a picture to a split by the hash of its pixels.

    Equal pictures get the same split, and a later extraction assigns the same one.

    Parameters
    ----------
    pixel_hash : str
        SHA-256 (hex) of the decoded pixels.
    val_share : float in [0, 1]
        Share of all pixel hashes that is assigned to ``val``.

    Returns
    -------
    {'train', 'val'}
        The split.

    Examples
    --------
    >>> assign_split("00" * 32, val_share=0.1), assign_split("ff" * 32, val_share=0.1)
    ('val', 'train')
    """
    return "val" if int(pixel_hash[:8], 16) < val_share * 2**32 else "train"


def reject_duplicates(rows: Iterable[ManifestRow]) -> set[int]:
    """Reject every accepted row that has the same pixels as an earlier accepted row.

    Parameters
    ----------
    rows : iterable of ManifestRow
        Rows in the source's order. They are changed in place.

    Returns
    -------
    set of int
        Numbers of the shards with newly rejected rows.
    """
    first_paths: dict[str, str] = {}
    shards: set[int] = set()
    for row in rows:
        if row.status != "accepted" or row.pixel_hash is None:
            continue
        if row.pixel_hash in first_paths:
            row.reject(RejectReason.DUPLICATE, f"same pixels as {first_paths[row.pixel_hash]}")
            shards.add(row.shard)
        else:
            first_paths[row.pixel_hash] = row.source_path
    return shards


def check_manifest(rows: list[ManifestRow], num_raw_rows: int) -> None:
    """Check that no row was lost or duplicated: raw rows = pairs + rejected rows.

    Parameters
    ----------
    rows : list of ManifestRow
        The manifest.
    num_raw_rows : int
        Number of rows in the raw index that the manifest was made from.

    Raises
    ------
    IntegrityError
        If a row is missing, duplicated, incomplete, or neither a pair nor rejected.
    """
    pairs = [row for row in rows if row.status == "pair"]
    rejected = [row for row in rows if row.status == "rejected"]
    problems = []
    if num_raw_rows != len(pairs) + len(rejected):
        problems.append(f"{num_raw_rows} rows in, {len(pairs)} pairs and {len(rejected)} rejected")
    if len({row.id for row in rows}) != len(rows):
        problems.append("a row occurs twice")
    if len({row.pixel_hash for row in pairs}) != len(pairs):
        problems.append("two pairs have the same pixels")
    if any(row.offset is None or row.size is None or row.split is None for row in pairs):
        problems.append("a pair has no position in a shard")
    if any(row.reason not in set(RejectReason) for row in rejected):
        problems.append("a rejected row has no valid reason")
    if problems:
        raise IntegrityError(
            f"The manifest is incomplete: {'; '.join(problems)}. Run `icanvas prepare` with the "
            "data set's name and --force."
        )
