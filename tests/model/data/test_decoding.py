"""Decoding of stored pairs, intact and damaged."""

import numpy as np
import pytest

from config.errors import CorruptObjectError
from model.data.dataset import PairDataset
from model.data.stroke_cache import cache_strokes
from storage import LocalStore
from tests.model.pairs import make_pair, publish_test_pairs


def test_damaged_pair_is_an_error_with_offset_and_advice(store: LocalStore) -> None:
    """Both in training and in the tracing before it."""
    publish_test_pairs(store, "ttt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 256)
    drawing, picture = pairs.load_pair(1)
    assert np.array_equal(drawing, make_pair(1)[0])
    assert np.array_equal(picture, make_pair(1)[1])
    key, offset = pairs.reader.shard_key(0, "train"), int(pairs.selected_records.offsets[1])
    shard = bytearray(store.get(key))
    shard[offset + int(pairs.selected_records.sizes[1]) // 2] ^= 1
    store.put(key, bytes(shard))
    damaged = PairDataset(store, "tiny", "pairs", "train", 256)
    message = rf"train-00000\.tar is damaged {offset} bytes from .*icanvas prepare tiny`"
    with pytest.raises(CorruptObjectError, match=message):
        damaged.load_pair(1)
    with pytest.raises(CorruptObjectError, match=message):
        cache_strokes(damaged.reader, damaged.split, damaged.records)
    damaged.load_pair(0)
