"""Strokes are traced once a pair set, and what is kept of them is never trusted blindly."""

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


def read_all(pairs: PairDataset, traced: StrokeReader) -> list[bytes]:
    places = pairs.selected_records
    return [
        pack_strokes(traced.read(shard, number, pairs.load_pair(index)[0]))
        for index, (shard, number) in enumerate(zip(places.shards, places.positions, strict=True))
    ]


def keep(pairs: PairDataset, *more: Callable[[int, int], None]) -> None:
    cache_strokes(pairs.reader, pairs.split, pairs.records, *more)


def strokes_of(pairs: PairDataset) -> StrokeReader:
    return StrokeReader(pairs.reader, pairs.shard_reader, pairs.split, pairs.records)


def test_they_are_traced_once(pairs: PairDataset, store: LocalStore) -> None:
    told: list[tuple[int, int]] = []
    keep(pairs, lambda *counts: told.append(counts))
    assert told == [(3, 3)]
    kept = store.get(KEY)
    keep(pairs, lambda *counts: told.append(counts))
    assert told == [(3, 3)]
    assert store.get(KEY) == kept


def test_what_is_kept_is_what_is_read(pairs: PairDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [pack_strokes(trace_strokes(pairs.load_pair(index)[0])) for index in range(len(pairs))]
    keep(pairs)

    def trace_again(*_: object) -> None:
        raise AssertionError("a drawing was traced again")

    monkeypatch.setattr("model.data.stroke_cache.trace_strokes", trace_again)
    assert read_all(pairs, strokes_of(pairs)) == wanted


@pytest.mark.parametrize("damage", ["missing", "short", "flipped", "begins", "empty"])
def test_what_is_damaged_changes_nothing(
    pairs: PairDataset, store: LocalStore, own_store: Path, damage: str
) -> None:
    keep(pairs)
    wanted = read_all(pairs, strokes_of(pairs))
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
        # The second drawing's strokes begin far behind the end.
        data[7] ^= 0x80
        file.write_bytes(data)
    else:
        file.write_bytes(b"")
    assert read_all(pairs, strokes_of(pairs)) == wanted


def test_pairs_left_out_shift_nothing(store: LocalStore) -> None:
    publish_test_pairs(store, "tttttt")
    whole = PairDataset(store, "tiny", "pairs", "train", 64)
    densities = whole.selected_records.densities.tolist()
    some = PairDataset(store, "tiny", "pairs", "train", 64, min_density=sorted(densities)[1])
    assert len(some) == 5
    assert densities.index(min(densities)) < 5, "others come behind it"
    keep(some)
    traced = strokes_of(some)
    for index, number in enumerate(some.selected_records.positions):
        drawing, _ = some.load_pair(index)
        plain = pack_strokes(trace_strokes(drawing))
        # From what is kept: the drawing given here is another.
        assert pack_strokes(traced.read(0, number, 255 - drawing)) == plain
        assert len(unpack_strokes(plain)) > 0


def shown(pairs: PairDataset, epoch: int, **changes: object) -> list[NDArray[np.uint8]]:
    training = AugmentedPairDataset(
        pairs, make_recipe({}, {"image_size": 64, "jitter": 8, **changes})
    )
    return [part.numpy() for part in training[SampleKey(epoch, 1)]]


def test_the_drawing_is_changed_and_the_picture_is_not(pairs: PairDataset) -> None:
    plain, picture = shown(pairs, 0, augment=0)
    drawing, target = shown(pairs, 0, augment=1, augment_share=1)
    assert (drawing != plain).any()
    assert (target == picture).all()
    again, _ = shown(pairs, 0, augment=1, augment_share=1)
    assert (again == drawing).all()
    unchanged, _ = shown(pairs, 0, augment=1, augment_share=0)
    assert (unchanged == plain).all()


def test_every_epoch_draws_anew(pairs: PairDataset) -> None:
    first, _ = shown(pairs, 0, augment=1, augment_share=1, jitter=0, hflip=False)
    second, _ = shown(pairs, 1, augment=1, augment_share=1, jitter=0, hflip=False)
    assert (first != second).any()
    assert torch.from_numpy(first).shape == (1, 64, 64)
