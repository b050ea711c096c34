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
from tests.s3 import SeaweedFS, corrupting_proxy


def test_sample_equals_the_stored_pair(store: LocalStore) -> None:
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
def test_published_file_is_read_from_its_raw_shard(store: LocalStore, drawing: DrawingSide) -> None:
    content = encode(draw_published(1, drawing), "JPEG")
    store.put(f"{keys.raw_folder('shoes', 'abc')}/00007.tar", b"x" * 99 + content + b"x" * 99)
    row = ManifestRow("0", "1_AB.jpg", 7, "pair", split="val", offset=99, size=len(content))
    row.sha256 = hashlib.sha256(content).hexdigest()
    settings = {"stored": "raw", "raw": "abc", "drawing": drawing}
    store.put(keys.pair_settings("shoes", "pairs"), json.dumps(settings).encode())
    store.put(f"{keys.pairs_folder('shoes', 'pairs')}/manifest.parquet", rows_to_parquet([row]))
    # Pickled, as for a loader process.
    pairs = pickle.loads(pickle.dumps(PairDataset(store, "shoes", "pairs", "val", 256)))
    condition, picture = pairs[0]
    lines, photo = split_pair(draw_published(1, drawing), drawing)
    assert (condition[0].numpy() * 255 == lines).all()
    restored = ((picture + 1) * 127.5).permute(1, 2, 0).numpy()
    assert np.abs(restored - photo).mean() < 3
    # A JPEG with a changed byte may decode without an error.
    damaged = content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]
    store.put(f"{keys.raw_folder('shoes', 'abc')}/00007.tar", b"x" * 99 + damaged + b"x" * 99)
    with pytest.raises(IntegrityError, match=r"00007.tar is damaged 99 bytes from its start"):
        PairDataset(store, "shoes", "pairs", "val", 256)[0]


def test_scaled_sample_has_the_same_ranges(store: LocalStore) -> None:
    publish_test_pairs(store, "t")
    condition, picture = PairDataset(store, "tiny", "pairs", "train", 64)[0]
    assert condition.shape == (1, 64, 64)
    assert picture.shape == (3, 64, 64)
    assert 0 <= condition.min() < condition.max() <= 1
    assert -1 <= picture.min() < picture.max() <= 1


SMALL = Recipe(batch=2, epochs=2, image_size=64)


def list_batches(
    count: int, recipe: Recipe, epoch: int = 0, done: int = 0
) -> list[list[SampleKey]]:
    sampler = ResumableBatchSampler(count, recipe, epoch, done)
    batches = list(sampler)
    assert len(sampler) == len(batches)
    return batches


@settings(deadline=None)
@given(st.integers(1, 100), st.integers(1, 9), st.integers(0, 2**31), st.data())
def test_sampler_covers_each_epoch_and_resumes(
    count: int, batch: int, seed: int, data: st.DataObject
) -> None:
    recipe = Recipe(batch=batch, epochs=3, seed=seed)
    all_batches = list_batches(count, recipe)
    per_epoch = -(-count // batch)
    assert len(all_batches) == 3 * per_epoch
    for epoch in range(3):
        samples = [key for some in all_batches[epoch * per_epoch :][:per_epoch] for key in some]
        assert {key.epoch for key in samples} == {epoch}
        assert sorted(key.index for key in samples) == list(range(count))
    start = data.draw(st.integers(0, len(all_batches)))
    assert list_batches(count, recipe, start // per_epoch, start % per_epoch) == all_batches[start:]


def test_order_depends_on_epoch_and_seed() -> None:
    orders = set()
    for seed in range(3):
        batches = list_batches(50, Recipe(batch=50, epochs=3, seed=seed))
        orders |= {tuple(key.index for key in batch) for batch in batches}
    assert len(orders) == 9


def load_batches(
    pairs: PairDataset, recipe: Recipe = SMALL, workers: int = 0
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    sampler = ResumableBatchSampler(len(pairs), recipe)
    return list(make_loader(pairs, recipe, sampler, torch.device("cpu"), workers))


def test_last_batch_of_an_epoch_may_be_smaller(store: LocalStore) -> None:
    publish_test_pairs(store, "ttttt")
    batches = load_batches(PairDataset(store, "tiny", "pairs", "train", 64))
    assert [len(condition) for condition, _ in batches] == [2, 2, 1, 2, 2, 1]


def test_batches_are_uint8_until_converted(store: LocalStore) -> None:
    """Bytes take a quarter of the memory, and the conversion is exact."""
    publish_test_pairs(store, "ttt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    (batch,) = load_batches(pairs, Recipe(epochs=1, batch=3, jitter=0, hflip=False, augment=0))
    assert [part.dtype for part in batch] == [torch.uint8, torch.uint8]
    condition, picture = to_float32(*batch)
    for value in (condition, picture):
        assert value.dtype == torch.float32
    levels = torch.arange(256, dtype=torch.uint8)
    zero_to_one, signed = to_float32(levels, levels)
    assert torch.equal(zero_to_one, torch.arange(256) / 255)
    assert torch.equal(signed, torch.arange(256) / 127.5 - 1)
    assert signed[[0, 255]].tolist() == [-1, 1]


def test_loader_process_exits_some_time_after_sigterm() -> None:
    """In this time the training process, which has the same signal, may end."""
    ready = multiprocessing.get_context("spawn").Event()
    worker = multiprocessing.get_context("spawn").Process(
        target=wait_as_loader_process, args=(ready,)
    )
    worker.start()
    assert ready.wait(60)
    worker.terminate()
    worker.join(0.3)
    assert worker.is_alive()
    worker.join(60)
    assert worker.exitcode == -signal.SIGALRM


def wait_as_loader_process(ready: Event) -> None:
    _ignore_stop_signals(5, 0)
    ready.set()
    while True:
        signal.pause()


@pytest.mark.slow
def test_batches_do_not_depend_on_num_workers(store: LocalStore) -> None:
    publish_test_pairs(store, "ttttt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    alone = load_batches(pairs)
    for workers in (1, 2):
        for one, other in zip(alone, load_batches(pairs, workers=workers), strict=True):
            assert all(torch.equal(*both) for both in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("cache_gb", "expected_counts"), [("20", {1}), pytest.param("0", {20}, marks=pytest.mark.slow)]
)
def test_loader_processes_fetch_an_s3_shard_once_if_the_cache_has_room(
    s3_server: SeaweedFS,
    s3_store: S3Store,
    monkeypatch: pytest.MonkeyPatch,
    cache_gb: str,
    expected_counts: set[int],
) -> None:
    """Two processes load two epochs of ten pairs, and their strokes."""
    publish_test_pairs(s3_store, "tttttttttt")
    pairs = PairDataset(s3_store, "tiny", "pairs", "train", 64)
    cache_strokes(pairs.reader, pairs.split, pairs.records)
    requests: Counter[str] = Counter()

    def count_requests(sent: bytes) -> None:
        requests.update(re.findall(r"GET \S+/(\S+\.tar) ", sent.decode("latin-1")))

    monkeypatch.setenv("ICANVAS_SHARD_CACHE_GB", cache_gb)
    # An empty cache, so that the fetches of the tracing do not count.
    monkeypatch.setenv("ICANVAS_CACHE", f"{get_settings().cache}-{cache_gb}")
    get_settings.cache_clear()
    recipe = SMALL.model_copy(update={"augment": 1.0, "augment_share": 1.0})
    with corrupting_proxy(s3_server, lambda data, _: data, count_requests) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        # A new store, so that its connections go through the proxy.
        pairs = PairDataset(open_store(s3_store.url), "tiny", "pairs", "train", 64)
        assert len(load_batches(pairs, recipe, workers=2)) == 10
    assert set(requests.values()) == expected_counts


@pytest.mark.parametrize("size", [64, 256])
def test_crop_and_flip_apply_to_drawing_and_picture(store: LocalStore, size: int) -> None:
    publish_test_pairs(store, "t")
    pairs = PairDataset(store, "tiny", "pairs", "train", size)
    recipe = Recipe(image_size=size, seed=3)
    samples = AugmentedPairDataset(pairs, recipe)
    # In these pairs, lines are where the picture's rows differ; also in each sample.
    conditions = set()
    for epoch in range(12):
        condition, target = to_float32(*samples[SampleKey(epoch, 0)])
        assert condition.shape == (1, size, size)
        assert target.shape == (3, size, size)
        again, _ = to_float32(*samples[SampleKey(epoch, 0)])
        assert torch.equal(condition, again), "a sample is not reproducible"
        conditions.add(condition.numpy().tobytes())
        if size == 256:
            assert set(np.unique(condition)) == {0, 1}, "an enlarged drawing stays black and white"
        change = target.diff(dim=1).abs().sum(0, keepdim=True)[:, :, 2:-2]
        lines = torch.nn.functional.max_pool2d(1 - condition, 5, 1, 2)[:, 1:, 2:-2]
        strong = change > 1
        assert lines[strong].gt(0.1).float().mean() > 0.98
    assert len(conditions) == 12
    unchanged = AugmentedPairDataset(pairs, recipe.model_copy(update={"jitter": 0, "hflip": False}))
    plain = to_float32(*unchanged[SampleKey(5, 0)])
    assert all(torch.equal(*both) for both in zip(plain, pairs[0], strict=True))


def test_half_of_the_samples_are_flipped(store: LocalStore) -> None:
    publish_test_pairs(store, "t")
    pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    samples = AugmentedPairDataset(pairs, Recipe(image_size=64, jitter=0))
    num_flipped = 0
    for epoch in range(100):
        _, target = to_float32(*samples[SampleKey(epoch, 0)])
        assert torch.equal(target, pairs[0][1]) or torch.equal(target, pairs[0][1].flip(2))
        num_flipped += not torch.equal(target, pairs[0][1])
    assert 30 < num_flipped < 70


def test_nearly_blank_drawings_are_skipped_and_counted(store: LocalStore) -> None:
    publish_test_pairs(store, "ttt")
    key = f"{keys.pairs_folder('tiny', 'pairs')}/manifest.parquet"
    rows = rows_from_parquet(store.get(key))
    rows[1].edge_density, rows[2].edge_density = 0.0019, None
    store.put(key, rows_to_parquet(rows))
    all_pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    pairs = PairDataset(store, "tiny", "pairs", "train", 64, min_density=0.002)
    assert (len(all_pairs), len(pairs), pairs.num_blank) == (3, 2, 1)
    assert all(torch.equal(*both) for both in zip(pairs[1], all_pairs[2], strict=True))


def test_missing_and_damaged_pairs_are_errors(store: LocalStore) -> None:
    with pytest.raises(NotFoundError, match="icanvas prepare tiny"):
        PairDataset(store, "tiny", "pairs", "train", 64)
    publish_test_pairs(store, "tt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    key = "datasets/tiny/pairs/pairs/train-00000.tar"
    store.put(key, store.get(key)[:-12_000])
    with pytest.raises(IntegrityError, match="to rebuild it"):
        pairs[1]


@pytest.mark.parametrize(("cores", "size", "count"), [(6, 1, 6), (6, 4, 1), (64, 1, 8)])
def test_num_workers_follows_the_usable_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, size: int, count: int
) -> None:
    monkeypatch.setenv("ICANVAS_CORES", str(cores))
    get_settings.cache_clear()
    assert choose_num_workers(torch.device("cuda"), DistributedContext(0, size)) == count
    assert choose_num_workers(torch.device("cpu"), DistributedContext(0, size)) == 0
