import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from errors import IntegrityError, NotFoundError
from model.data import EpochSampler, PairDataset, make_loader
from postprocess import Side, split_pair
from storage import LocalStore, keys
from storage.manifest import Row, write_rows
from tests.conftest import draw_scene, encode
from tests.model.pairs import publish
from tests.published import draw_published


def test_a_sample_is_the_stored_pair(store: LocalStore) -> None:
    publish(store, "tvrt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 256)
    assert [row.id for row in pairs.rows] == ["00000000", "00000003"]
    condition, picture = pairs[1]
    assert condition.shape == (1, 256, 256)
    assert set(np.unique(condition)) == {0, 1}
    assert picture.shape == (3, 256, 256)
    restored = ((picture + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert (restored == draw_scene(3, 256, 256)).all()
    assert len(PairDataset(store, "tiny", "pairs", "val", 256)) == 1


@pytest.mark.parametrize("drawing", ["left", "right"])
def test_a_published_file_is_read_where_it_lies(store: LocalStore, drawing: Side) -> None:
    content = encode(draw_published(1, drawing), "JPEG")
    store.put(f"{keys.raw_folder('shoes', 'abc')}/00007.tar", b"x" * 99 + content + b"x" * 99)
    row = Row("0", "1_AB.jpg", 7, "pair", split="val", offset=99, size=len(content))
    settings = {"stored": "raw", "raw": "abc", "drawing": drawing}
    store.put(keys.pair_settings("shoes", "pairs"), json.dumps(settings).encode())
    store.put(f"{keys.pairs_folder('shoes', 'pairs')}/manifest.parquet", write_rows([row]))
    # As a worker of the loader gets it.
    pairs = pickle.loads(pickle.dumps(PairDataset(store, "shoes", "pairs", "val", 256)))
    condition, picture = pairs[0]
    lines, photo = split_pair(draw_published(1, drawing), drawing)
    assert (condition[0].numpy() * 255 == lines).all()
    restored = ((picture + 1) * 127.5).permute(1, 2, 0).numpy()
    assert np.abs(restored - photo).mean() < 3


def test_a_smaller_sample_keeps_its_ranges(store: LocalStore) -> None:
    publish(store, "t")
    condition, picture = PairDataset(store, "tiny", "pairs", "train", 64)[0]
    assert condition.shape == (1, 64, 64)
    assert picture.shape == (3, 64, 64)
    assert 0 <= condition.min() < condition.max() <= 1
    assert -1 <= picture.min() < picture.max() <= 1


@given(st.integers(0, 300), st.integers(0, 2**31), st.integers(0, 500))
def test_an_epoch_shows_every_pair_once_in_a_repeatable_order(
    count: int, seed: int, epoch: int
) -> None:
    order = list(EpochSampler(count, seed, epoch))
    assert sorted(order) == list(range(count))
    assert order == list(EpochSampler(count, seed, epoch))


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(EpochSampler(50, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_the_last_batch_may_be_small(store: LocalStore) -> None:
    publish(store, "ttttt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    batches = list(make_loader(pairs, 2, 0, 0, torch.device("cpu")))
    assert [len(condition) for condition, _ in batches] == [2, 2, 1]


def test_missing_and_damaged_pairs_are_told(store: LocalStore) -> None:
    with pytest.raises(NotFoundError, match="icanvas prepare tiny"):
        PairDataset(store, "tiny", "pairs", "train", 64)
    publish(store, "tt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    key = "datasets/tiny/pairs/pairs/train-00000.tar"
    store.put(key, store.get(key)[:-12_000])
    with pytest.raises(IntegrityError, match="--refresh"):
        pairs[1]
