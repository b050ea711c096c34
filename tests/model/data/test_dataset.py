import hashlib
import json
import multiprocessing
import pickle
import re
import signal
from collections import Counter
from multiprocessing.synchronize import Event

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import IntegrityError, NotFoundError
from config.recipe import Recipe
from config.settings import get_settings
from model.data.dataset import (
    AugmentedPairDataset,
    PairDataset,
    _ignore_stop_signals,
    choose_num_workers,
    make_loader,
    to_float32,
)
from model.data.sampler import ResumableBatchSampler, SampleKey
from model.data.stroke_cache import cache_strokes
from model.training.distributed import DistributedContext
from postprocess import DrawingSide, split_pair
from storage import LocalStore, keys, open_store
from storage.manifest import ManifestRow, rows_from_parquet, rows_to_parquet
from storage.s3 import S3Store
from tests.conftest import draw_scene, encode
from tests.model.pairs import publish_test_pairs
from tests.published_pairs import draw_published
from tests.s3 import SeaweedFS, spoiled_line


def test_a_sample_is_the_stored_pair(store: LocalStore) -> None:
    publish_test_pairs(store, "tvrt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 256)
    assert len(pairs) == 2
    condition, picture = pairs[1]
    assert condition.shape == (1, 256, 256)
    assert set(np.unique(condition)) == {0, 1}
    assert picture.shape == (3, 256, 256)
    restored = ((picture + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert (restored == draw_scene(3, 256, 256)).all()
    assert len(PairDataset(store, "tiny", "pairs", "val", 256)) == 1


@pytest.mark.parametrize("drawing", ["left", "right"])
def test_a_published_file_is_read_where_it_lies(store: LocalStore, drawing: DrawingSide) -> None:
    content = encode(draw_published(1, drawing), "JPEG")
    store.put(f"{keys.raw_folder('shoes', 'abc')}/00007.tar", b"x" * 99 + content + b"x" * 99)
    row = ManifestRow("0", "1_AB.jpg", 7, "pair", split="val", offset=99, size=len(content))
    row.sha256 = hashlib.sha256(content).hexdigest()
    settings = {"stored": "raw", "raw": "abc", "drawing": drawing}
    store.put(keys.pair_settings("shoes", "pairs"), json.dumps(settings).encode())
    store.put(f"{keys.pairs_folder('shoes', 'pairs')}/manifest.parquet", rows_to_parquet([row]))
    # As a worker of the loader gets it.
    pairs = pickle.loads(pickle.dumps(PairDataset(store, "shoes", "pairs", "val", 256)))
    condition, picture = pairs[0]
    lines, photo = split_pair(draw_published(1, drawing), drawing)
    assert (condition[0].numpy() * 255 == lines).all()
    restored = ((picture + 1) * 127.5).permute(1, 2, 0).numpy()
    assert np.abs(restored - photo).mean() < 3
    # A JPEG with a changed byte may well be decoded.
    damaged = content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]
    store.put(f"{keys.raw_folder('shoes', 'abc')}/00007.tar", b"x" * 99 + damaged + b"x" * 99)
    with pytest.raises(IntegrityError, match=r"00007.tar is damaged 99 bytes from its start"):
        PairDataset(store, "shoes", "pairs", "val", 256)[0]


def test_a_smaller_sample_keeps_its_ranges(store: LocalStore) -> None:
    publish_test_pairs(store, "t")
    condition, picture = PairDataset(store, "tiny", "pairs", "train", 64)[0]
    assert condition.shape == (1, 64, 64)
    assert picture.shape == (3, 64, 64)
    assert 0 <= condition.min() < condition.max() <= 1
    assert -1 <= picture.min() < picture.max() <= 1


SMALL = Recipe(batch=2, epochs=2, image_size=64)


def order_of(count: int, recipe: Recipe, epoch: int = 0, done: int = 0) -> list[list[SampleKey]]:
    sampler = ResumableBatchSampler(count, recipe, epoch, done)
    batches = list(sampler)
    assert len(sampler) == len(batches)
    return batches


@settings(deadline=None)
@given(st.integers(1, 100), st.integers(1, 9), st.integers(0, 2**31), st.data())
def test_every_epoch_shows_every_pair_once_and_a_resumed_run_shows_the_rest(
    count: int, batch: int, seed: int, data: st.DataObject
) -> None:
    recipe = Recipe(batch=batch, epochs=3, seed=seed)
    whole = order_of(count, recipe)
    per_epoch = -(-count // batch)
    assert len(whole) == 3 * per_epoch
    for epoch in range(3):
        shown = [draw for some in whole[epoch * per_epoch :][:per_epoch] for draw in some]
        assert {draw.epoch for draw in shown} == {epoch}
        assert sorted(draw.index for draw in shown) == list(range(count))
    begun = data.draw(st.integers(0, len(whole)))
    assert order_of(count, recipe, begun // per_epoch, begun % per_epoch) == whole[begun:]


def test_epochs_and_seeds_differ() -> None:
    orders = set()
    for seed in range(3):
        batches = order_of(50, Recipe(batch=50, epochs=3, seed=seed))
        orders |= {tuple(draw.index for draw in batch) for batch in batches}
    assert len(orders) == 9


def batches_of(
    pairs: PairDataset, recipe: Recipe = SMALL, workers: int = 0
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    sampler = ResumableBatchSampler(len(pairs), recipe)
    return list(make_loader(pairs, recipe, sampler, torch.device("cpu"), workers))


def test_the_last_batch_of_an_epoch_may_be_small(store: LocalStore) -> None:
    publish_test_pairs(store, "ttttt")
    batches = batches_of(PairDataset(store, "tiny", "pairs", "train", 64))
    assert [len(condition) for condition, _ in batches] == [2, 2, 1, 2, 2, 1]


def test_a_batch_is_bytes_until_it_is_made_floats(store: LocalStore) -> None:
    """What goes from a worker to the device is a quarter; no value is another for it."""
    publish_test_pairs(store, "ttt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    (batch,) = batches_of(pairs, Recipe(epochs=1, batch=3, jitter=0, hflip=False, augment=0))
    assert [part.dtype for part in batch] == [torch.uint8, torch.uint8]
    condition, picture = to_float32(*batch)
    for value in (condition, picture):
        assert value.dtype == torch.float32
    levels = torch.arange(256, dtype=torch.uint8)
    zero_to_one, signed = to_float32(levels, levels)
    assert torch.equal(zero_to_one, torch.arange(256) / 255)
    assert torch.equal(signed, torch.arange(256) / 127.5 - 1)
    assert signed[[0, 255]].tolist() == [-1, 1]


def test_a_worker_outlives_a_signal_for_some_time() -> None:
    """In which the training process, that a whole group's signal has reached, too, may end."""
    ready = multiprocessing.get_context("spawn").Event()
    worker = multiprocessing.get_context("spawn").Process(target=wait_as_a_worker, args=(ready,))
    worker.start()
    assert ready.wait(60)
    worker.terminate()
    worker.join(0.3)
    assert worker.is_alive()
    worker.join(60)
    assert worker.exitcode == -signal.SIGALRM


def wait_as_a_worker(ready: Event) -> None:
    _ignore_stop_signals(5, 0)
    ready.set()
    while True:
        signal.pause()


@pytest.mark.slow
def test_workers_change_nothing(store: LocalStore) -> None:
    publish_test_pairs(store, "ttttt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    alone = batches_of(pairs)
    for workers in (1, 2):
        for mine, theirs in zip(alone, batches_of(pairs, workers=workers), strict=True):
            assert all(torch.equal(*both) for both in zip(mine, theirs, strict=True))


@pytest.mark.parametrize(
    ("room", "fetched"), [("20", {1}), pytest.param("0", {20}, marks=pytest.mark.slow)]
)
def test_workers_fetch_a_shard_of_s3_once_where_there_is_room(
    s3_server: SeaweedFS,
    s3_store: S3Store,
    monkeypatch: pytest.MonkeyPatch,
    room: str,
    fetched: set[int],
) -> None:
    """Two epochs of ten pairs by two processes, who also read strokes."""
    publish_test_pairs(s3_store, "tttttttttt")
    pairs = PairDataset(s3_store, "tiny", "pairs", "train", 64)
    cache_strokes(pairs.reader, pairs.split, pairs.records)
    asked: Counter[str] = Counter()

    def hear(sent: bytes) -> None:
        asked.update(re.findall(r"GET \S+/(\S+\.tar) ", sent.decode("latin-1")))

    monkeypatch.setenv("ICANVAS_SHARD_CACHE_GB", room)
    # What tracing has fetched is not what is counted.
    monkeypatch.setenv("ICANVAS_CACHE", f"{get_settings().cache}-{room}")
    get_settings.cache_clear()
    recipe = SMALL.model_copy(update={"augment": 1.0, "augment_share": 1.0})
    with spoiled_line(s3_server, lambda data, _: data, hear) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        # A store of its own connects by that line.
        pairs = PairDataset(open_store(s3_store.url), "tiny", "pairs", "train", 64)
        assert len(batches_of(pairs, recipe, workers=2)) == 10
    assert set(asked.values()) == fetched


@pytest.mark.parametrize("size", [64, 256])
def test_jitter_and_mirror_move_both_halves_alike(store: LocalStore, size: int) -> None:
    publish_test_pairs(store, "t")
    pairs = PairDataset(store, "tiny", "pairs", "train", size)
    recipe = Recipe(image_size=size, seed=3)
    shown = AugmentedPairDataset(pairs, recipe)
    # Lines are where the picture's rows differ, in this set; in each draw as in the stored pair.
    seen = set()
    for epoch in range(12):
        condition, target = to_float32(*shown[SampleKey(epoch, 0)])
        assert condition.shape == (1, size, size)
        assert target.shape == (3, size, size)
        again, _ = to_float32(*shown[SampleKey(epoch, 0)])
        assert torch.equal(condition, again), "a draw is not repeatable"
        seen.add(condition.numpy().tobytes())
        if size == 256:
            assert set(np.unique(condition)) == {0, 1}, "an enlarged drawing is not grey"
        change = target.diff(dim=1).abs().sum(0, keepdim=True)[:, :, 2:-2]
        lines = torch.nn.functional.max_pool2d(1 - condition, 5, 1, 2)[:, 1:, 2:-2]
        strong = change > 1
        assert lines[strong].gt(0.1).float().mean() > 0.98
    assert len(seen) == 12
    still = AugmentedPairDataset(pairs, recipe.model_copy(update={"jitter": 0, "hflip": False}))
    plain = to_float32(*still[SampleKey(5, 0)])
    assert all(torch.equal(*both) for both in zip(plain, pairs[0], strict=True))


def test_about_half_of_the_draws_are_mirrored(store: LocalStore) -> None:
    publish_test_pairs(store, "t")
    pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    shown = AugmentedPairDataset(pairs, Recipe(image_size=64, jitter=0))
    mirrored = 0
    for epoch in range(100):
        _, target = to_float32(*shown[SampleKey(epoch, 0)])
        assert torch.equal(target, pairs[0][1]) or torch.equal(target, pairs[0][1].flip(2))
        mirrored += not torch.equal(target, pairs[0][1])
    assert 30 < mirrored < 70


def test_next_to_blank_drawings_are_left_out_and_counted(store: LocalStore) -> None:
    publish_test_pairs(store, "ttt")
    key = f"{keys.pairs_folder('tiny', 'pairs')}/manifest.parquet"
    rows = rows_from_parquet(store.get(key))
    rows[1].edge_density, rows[2].edge_density = 0.0019, None
    store.put(key, rows_to_parquet(rows))
    whole = PairDataset(store, "tiny", "pairs", "train", 64)
    pairs = PairDataset(store, "tiny", "pairs", "train", 64, min_density=0.002)
    assert (len(whole), len(pairs), pairs.num_blank) == (3, 2, 1)
    assert all(torch.equal(*both) for both in zip(pairs[1], whole[2], strict=True))


def test_missing_and_damaged_pairs_are_told(store: LocalStore) -> None:
    with pytest.raises(NotFoundError, match="icanvas prepare tiny"):
        PairDataset(store, "tiny", "pairs", "train", 64)
    publish_test_pairs(store, "tt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    key = "datasets/tiny/pairs/pairs/train-00000.tar"
    store.put(key, store.get(key)[:-12_000])
    with pytest.raises(IntegrityError, match="to make it anew"):
        pairs[1]


@pytest.mark.parametrize(("cores", "size", "count"), [(6, 1, 6), (6, 4, 1), (64, 1, 8)])
def test_loader_processes_take_the_cores_that_are_allowed(
    monkeypatch: pytest.MonkeyPatch, cores: int, size: int, count: int
) -> None:
    monkeypatch.setenv("ICANVAS_CORES", str(cores))
    get_settings.cache_clear()
    assert choose_num_workers(torch.device("cuda"), DistributedContext(0, size)) == count
    assert choose_num_workers(torch.device("cpu"), DistributedContext(0, size)) == 0
