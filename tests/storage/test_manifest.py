from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import IntegrityError
from storage import RejectReason
from storage.manifest import (
    ManifestRow,
    assign_split,
    check_manifest,
    pair_index_from_parquet,
    reject_duplicates,
    rows_from_parquet,
    rows_to_dataframe,
    rows_to_parquet,
)

texts = st.text(st.characters(blacklist_categories=["Cs"]))
rows = st.lists(
    st.builds(
        ManifestRow,
        id=texts,
        source_path=texts,
        shard=st.integers(0, 2**31 - 1),
        status=st.sampled_from(["accepted", "pair", "rejected"]),
        reason=st.none() | st.sampled_from([reason.value for reason in RejectReason]),
        pixel_hash=st.none() | texts,
        offset=st.none() | st.integers(0, 2**62),
        edge_density=st.none() | st.floats(0, 1),
    ),
    max_size=6,
)


def pair(number: int) -> ManifestRow:
    return ManifestRow(
        *(f"{number:08d}", f"{number}.png", 0, "pair"),
        pixel_hash=f"{number:064x}",
        split="train",
        offset=512,
        size=9,
    )


@given(rows)
@settings(deadline=None)
def test_rows_round_trip_through_parquet(sample: list[ManifestRow]) -> None:
    assert rows_from_parquet(rows_to_parquet(sample)) == sample
    assert list(rows_to_dataframe(sample)["source_path"]) == [row.source_path for row in sample]


@given(
    st.lists(
        st.builds(
            ManifestRow,
            id=st.just("0"),
            source_path=st.just("a.png"),
            shard=st.integers(0, 3) | st.just(2**31 - 1),
            status=st.sampled_from(["pair", "rejected"]),
            split=st.sampled_from(["train", "val"]),
            offset=st.integers(0, 2**40),
            size=st.integers(0, 2**31),
            edge_density=st.none() | st.floats(0, 1),
        ),
        max_size=30,
    )
)
@settings(deadline=None)
def test_pair_index_matches_the_rows(sample: list[ManifestRow]) -> None:
    pairs = [row for row in sample if row.status == "pair" and row.split == "train"]
    index = pair_index_from_parquet(rows_to_parquet(sample), "train")
    assert index.shards.tolist() == [row.shard for row in pairs]
    assert index.offsets.tolist() == [row.offset for row in pairs]
    assert index.sizes.tolist() == [row.size for row in pairs]
    densities = [None if np.isnan(density) else density for density in index.densities]
    assert densities == [row.edge_density for row in pairs]
    counts: Counter[int] = Counter()
    for row, number in zip(pairs, index.positions, strict=True):
        assert number == counts[row.shard]
        counts[row.shard] += 1
    ends = [
        max((row.offset or 0) + (row.size or 0) for row in pairs if row.shard == shard)
        for shard in counts
    ]
    assert index.total_bytes == sum(ends)
    not_first = index.select(index.positions > 0)
    assert len(not_first) == len(pairs) - len(counts)
    assert not_first.positions.tolist() == [number for number in index.positions if number > 0]


def test_invalid_parquet_raises_corrupt_object_error() -> None:
    for read in (rows_from_parquet, lambda data: pair_index_from_parquet(data, "train")):
        with pytest.raises(IntegrityError, match="icanvas prepare"):
            read(b"PAR1 and nothing else")


def test_reject_duplicates_keeps_the_first_of_equal_pictures() -> None:
    sample = [
        ManifestRow("0", "broken.png", 0, "rejected", reason="undecodable"),
        ManifestRow("1", "a.png", 0, pixel_hash="x", offset=512, size=3),
        ManifestRow("2", "b.png", 0, pixel_hash="y", offset=1536, size=3),
        ManifestRow("3", "copy.png", 0, pixel_hash="x", offset=2560, size=3),
    ]
    reject_duplicates(sample)
    assert [row.reason for row in sample] == ["undecodable", None, None, "duplicate"]
    assert sample[3].detail == "same pixels as a.png"
    assert sample[3].offset is None


@given(st.floats(0, 0.5), st.integers(0, 2**256 - 1))
def test_split_is_stable_and_monotonic_in_val_share(share: float, number: int) -> None:
    pixel_hash = f"{number:064x}"
    split = assign_split(pixel_hash, share)
    assert split == assign_split(pixel_hash, share)
    if split == "val":
        assert assign_split(pixel_hash, 0.5) == "val"
    assert assign_split(pixel_hash, 0) == "train"


def test_complete_manifest_passes_check() -> None:
    rejected = ManifestRow("2", "x.txt", 0, "rejected", reason="not_a_picture")
    check_manifest([pair(0), pair(1), rejected], num_raw_rows=3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([pair(0)], "2 rows in, 1 pairs and 0 rejected"),
        ([pair(0), replace(pair(1), id=pair(0).id)], "twice"),
        ([pair(0), replace(pair(1), pixel_hash=pair(0).pixel_hash)], "same pixels"),
        ([pair(0), replace(pair(1), offset=None)], "no position"),
        ([pair(0), replace(pair(1), status="accepted")], "1 pairs"),
        ([pair(0), ManifestRow("1", "x", 0, "rejected", reason="mood")], "no valid reason"),
    ],
)
def test_incomplete_manifest_fails_check(rows: list[ManifestRow], message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        check_manifest(rows, num_raw_rows=2)
