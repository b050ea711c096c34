"""A pair's bytes as they are stored, and damaged."""

import numpy as np
import pytest

from config.errors import DamagedError
from model.data.dataset import PairDataset
from model.data.stroke_cache import keep_strokes
from storage import LocalStore
from tests.model.pairs import draw_halves, publish


def test_damage_is_told_with_its_place_and_what_to_do(store: LocalStore) -> None:
    """Whoever meets it first: training, or the tracing before it."""
    publish(store, "ttt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 256)
    drawing, picture = pairs.halves(1)
    assert np.array_equal(drawing, draw_halves(1)[0])
    assert np.array_equal(picture, draw_halves(1)[1])
    key, offset = pairs.stored.shard_key(0, "train"), int(pairs.places.offsets[1])
    shard = bytearray(store.get(key))
    shard[offset + int(pairs.places.sizes[1]) // 2] ^= 1
    store.put(key, bytes(shard))
    damaged = PairDataset(store, "tiny", "pairs", "train", 256)
    told = rf"train-00000\.tar is damaged {offset} bytes from .*icanvas prepare tiny`"
    with pytest.raises(DamagedError, match=told):
        damaged.halves(1)
    with pytest.raises(DamagedError, match=told):
        keep_strokes(damaged.stored, damaged.split, damaged.found)
    damaged.halves(0)
