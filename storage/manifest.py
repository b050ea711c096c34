"""The tables of a data set: one row a source file, a pair or rejected with a reason."""

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
    """Why a source file is not a pair. The list is closed."""

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
    id : its number in the source's order, as eight digits.
    source_path : its path in the source; bytes that are not UTF-8 are escaped.
    sha256 : of its bytes (hex); null where it was too large to be read.
    pixel_hash : SHA-256 (hex) of the decoded pixels and their shape; null where not decoded.
    width, height : of the decoded picture, in pixels; of the header where it was too large.
    split : ``train`` or ``val``, from the pixel hash or as the data set was published; null in a
        raw index and where not decoded.
    status : ``accepted`` in a raw index, ``pair`` in a manifest, or ``rejected``.
    reason : null unless rejected.
    detail : what was found, for a person; null unless rejected.
    shard : number of the shard.
    offset, size : where the bytes lie in the shard's tar; null unless stored. For a pair,
        ``pairsets.StoredPairs`` tells which tar.
    edge_density : share of line pixels; null until edges are extracted.
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
        """Make this row a rejected one; the stored bytes are no longer pointed at."""
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


# In the order of a row's arguments.
_ROW_FIELDS = [field.name for field in fields(ManifestRow)]


def rows_to_parquet(rows: Iterable[ManifestRow]) -> bytes:
    """Return rows as Parquet bytes, the same for the same rows."""
    table = pa.Table.from_pydict(_to_columns(rows), schema=_SCHEMA)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def rows_from_parquet(data: bytes) -> list[ManifestRow]:
    """Return the rows of Parquet bytes.

    Raises
    ------
    CorruptObjectError
        If the bytes are not such a table.
    """
    # By column, and some at a time: a dictionary for every row takes longer, and more room.
    batches = _read_table(data, _ROW_FIELDS).to_batches(max_chunksize=1 << 16)
    return [
        ManifestRow(*values)
        for batch in batches
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]


@dataclass(frozen=True)
class PairIndex:
    """Where pairs lie, in the manifest's order: all that training needs of rows, in 64 bytes each.

    Attributes
    ----------
    shards : int32 (N,), number of the shard.
    numbers : int32 (N,), the how manieth of its split's pairs in the shard, from 0.
    offsets, sizes : int64 (N,), where the bytes lie in the shard's tar.
    densities : float64 (N,), share of line pixels; NaN where it is not known.
    digests : V32 (N,), SHA-256 of the source's file.
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
        """Return those that a mask (N,) chooses."""
        return PairIndex(*(column[mask] for column in vars(self).values()))

    @property
    def total_bytes(self) -> int:
        """Bytes of the shards as far as the last of the pairs in each."""
        shards, inverse = np.unique(self.shards, return_inverse=True)
        ends = np.zeros(len(shards), np.int64)
        np.maximum.at(ends, inverse, self.offsets + self.sizes)
        return int(ends.sum())


def pair_index_from_parquet(data: bytes, split: str) -> PairIndex:
    """Return where the pairs of a split lie, of a manifest's Parquet bytes.

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
    # The pairs of a shard may be anywhere; among themselves they stay in their order.
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
        raise CorruptObjectError(f"A stored table cannot be read ({error}). {PREPARE_AGAIN}") from error


def load_rows(store: ObjectStore, key: str) -> list[ManifestRow] | None:
    """Return the rows of a stored table that is to be made where it is not there.

    None where it is not, or where it is damaged: then it is to be made anew.
    """
    try:
        content = get_or_none(store, key)
        return None if content is None else rows_from_parquet(content)
    except CorruptObjectError:
        return None


def rows_to_dataframe(rows: Iterable[ManifestRow]) -> pd.DataFrame:
    """Return rows as a data frame with the manifest's columns."""
    return pd.DataFrame(_to_columns(rows))


def _to_columns(rows: Iterable[ManifestRow]) -> dict[str, list[Any]]:
    # A copy of every row costs ten times as much.
    rows = list(rows)
    return {name: [getattr(row, name) for row in rows] for name in _SCHEMA.names}


def assign_split(pixel_hash: str, val_share: float) -> str:
    """Return ``val`` for about that share of all pixel hashes, else ``train``.

    Equal pictures land on the same side, and a re-extraction keeps every picture's side.
    """
    return "val" if int(pixel_hash[:8], 16) < val_share * 2**32 else "train"


def reject_duplicates(rows: Iterable[ManifestRow]) -> set[int]:
    """Reject every accepted row whose pixels an earlier accepted row has; return their shards."""
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
    """Assert that nothing was lost or doubled: rows in = pairs + rejected.

    Parameters
    ----------
    rows : the manifest.
    rows_in : rows of the raw index it was made from.

    Raises
    ------
    IntegrityError
        If a row is missing, doubled, neither pair nor rejected, or incomplete.
    """
    pairs = [row for row in rows if row.status == "pair"]
    rejected = [row for row in rows if row.status == "rejected"]
    problems = []
    if num_raw_rows != len(pairs) + len(rejected):
        problems.append(f"{num_raw_rows} rows in, {len(pairs)} pairs and {len(rejected)} rejected")
    if len({row.id for row in rows}) != len(rows):
        problems.append("a row is there twice")
    if len({row.pixel_hash for row in pairs}) != len(pairs):
        problems.append("two pairs have the same pixels")
    if any(row.offset is None or row.size is None or row.split is None for row in pairs):
        problems.append("a pair has no place in a shard")
    if any(row.reason not in set(RejectReason) for row in rejected):
        problems.append("a rejected row has no known reason")
    if problems:
        raise IntegrityError(
            f"The manifest is not complete: {'; '.join(problems)}. Run `icanvas prepare` with its "
            "data set's name and --refresh."
        )
