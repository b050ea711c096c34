import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from errors import IntegrityError, NotFoundError
from model.data import EpochSampler, PairDataset, make_loader
from storage import LocalStore
from tests.conftest import draw_scene
from tests.model.pairs import publish


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
