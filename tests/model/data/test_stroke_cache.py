"""The stroke cache: traced once per pair set, and verified when read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from config.recipe import make_recipe
from model.data.dataset import AugmentedPairDataset, PairDataset
from model.data.sampler import SampleKey
from model.data.stroke_cache import StrokeReader, cache_strokes
from postprocess import pack_strokes, trace_strokes, unpack_strokes
from storage import LocalStore
from tests.model.pairs import publish_test_pairs

KEY = "datasets/tiny/pairs/pairs/strokes-1/train-00000.bin"


@pytest.fixture
def pairs(store: LocalStore) -> PairDataset:
    publish_test_pairs(store, "ttvt")
    return PairDataset(store, "tiny", "pairs", "train", 64)


def read_all(pairs: PairDataset, reader: StrokeReader) -> list[bytes]:
    records = pairs.selected_records
    return [
        pack_strokes(reader.read(shard, position, pairs.load_pair(index)[0]))
        for index, (shard, position) in enumerate(
            zip(records.shards, records.positions, strict=True)
        )
    ]


def cache_all(pairs: PairDataset, *more: Callable[[int, int], None]) -> None:
    cache_strokes(pairs.reader, pairs.split, pairs.records, *more)


def make_reader(pairs: PairDataset) -> StrokeReader:
    return StrokeReader(pairs.reader, pairs.shard_reader, pairs.split, pairs.records)


def test_strokes_are_traced_once(pairs: PairDataset, store: LocalStore) -> None:
    progress: list[tuple[int, int]] = []
    cache_all(pairs, lambda *counts: progress.append(counts))
    assert progress == [(3, 3)]
    cached = store.get(KEY)
    cache_all(pairs, lambda *counts: progress.append(counts))
    assert progress == [(3, 3)]
    assert store.get(KEY) == cached


def test_cached_strokes_equal_traced_ones(
    pairs: PairDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [
        pack_strokes(trace_strokes(pairs.load_pair(index)[0])) for index in range(len(pairs))
    ]
    cache_all(pairs)

    def trace_again(*_: object) -> None:
        raise AssertionError("a drawing was traced again")

    monkeypatch.setattr("model.data.stroke_cache.trace_strokes", trace_again)
    assert read_all(pairs, make_reader(pairs)) == expected


@pytest.mark.parametrize("damage", ["missing", "short", "flipped", "begins", "empty"])
def test_damaged_cache_is_traced_again(
    pairs: PairDataset, store: LocalStore, own_store: Path, damage: str
) -> None:
    cache_all(pairs)
    expected = read_all(pairs, make_reader(pairs))
    file = own_store / KEY
    data = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "short":
        file.write_bytes(data[:-9])
    elif damage == "flipped":
        data[-3] ^= 1
        file.write_bytes(data)
    elif damage == "begins":
        # The offset of the second drawing's strokes is beyond the end.
        data[7] ^= 0x80
        file.write_bytes(data)
    else:
        file.write_bytes(b"")
    assert read_all(pairs, make_reader(pairs)) == expected


def test_skipped_pairs_do_not_shift_positions(store: LocalStore) -> None:
    publish_test_pairs(store, "tttttt")
    all_pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    densities = all_pairs.selected_records.densities.tolist()
    selected = PairDataset(store, "tiny", "pairs", "train", 64, min_density=sorted(densities)[1])
    assert len(selected) == 5
    assert densities.index(min(densities)) < 5, "pairs follow the skipped one"
    cache_all(selected)
    reader = make_reader(selected)
    for index, position in enumerate(selected.selected_records.positions):
        drawing, _ = selected.load_pair(index)
        plain = pack_strokes(trace_strokes(drawing))
        # Read from the cache: the drawing passed here is another one.
        assert pack_strokes(reader.read(0, position, 255 - drawing)) == plain
        assert len(unpack_strokes(plain)) > 0


def load_sample(pairs: PairDataset, epoch: int, **changes: object) -> list[NDArray[np.uint8]]:
    training = AugmentedPairDataset(
        pairs, make_recipe({}, {"image_size": 64, "jitter": 8, **changes})
    )
    return [part.numpy() for part in training[SampleKey(epoch, 1)]]


def test_augmentation_changes_the_drawing_only(pairs: PairDataset) -> None:
    plain, picture = load_sample(pairs, 0, augment=0)
    drawing, target = load_sample(pairs, 0, augment=1, augment_share=1)
    assert (drawing != plain).any()
    assert (target == picture).all()
    again, _ = load_sample(pairs, 0, augment=1, augment_share=1)
    assert (again == drawing).all()
    unchanged, _ = load_sample(pairs, 0, augment=1, augment_share=0)
    assert (unchanged == plain).all()


def test_augmentation_differs_between_epochs(pairs: PairDataset) -> None:
    first, _ = load_sample(pairs, 0, augment=1, augment_share=1, jitter=0, hflip=False)
    second, _ = load_sample(pairs, 1, augment=1, augment_share=1, jitter=0, hflip=False)
    assert (first != second).any()
    assert torch.from_numpy(first).shape == (1, 64, 64)
