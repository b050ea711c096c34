"""Pair sets in the store as PyTorch data sets."""

import signal
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from config.recipe import Recipe
from config.settings import get_usable_cores
from model.data.augmentation import augment_strokes
from model.data.decoding import decode_stored_pair
from model.data.sampler import ResumableBatchSampler, SampleKey
from model.data.stroke_cache import StrokeReader
from model.training.distributed import DistributedContext
from postprocess import PAIR_SIZE
from storage import ObjectStore
from storage.pair_reader import open_pairs
from storage.pair_sets import read_manifest, read_pair_index
from storage.shard_reader import ShardReader

Sample = tuple[Tensor, Tensor]

# Seconds that a training process has to end after a signal, besides its recipe's grace period.
_EXIT_TIMEOUT_S = 60


class PairDataset(Dataset[Sample]):
    """The pairs of one split, read by offset and size from shards that stay open.

    Parameters
    ----------
    store : ObjectStore
        Where the pair set is.
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the pair set.
    split : str
        ``train`` or ``val``.
    image_size : int
        Side in pixels that drawing and picture are scaled to.
    min_density : float, default 0
        Pairs with a smaller share of line pixels are skipped: near-blank drawings cause exploding
        gradients in the instance norms.

    Attributes
    ----------
    split : str
        As given.
    records : PairIndex
        All pairs of the split.
    selected_records : PairIndex
        The pairs of this data set: those that are not skipped.
    num_blank : int
        Number of skipped pairs.
    reader : PairReader
        The pair set.
    shard_reader : ShardReader
        Reads its shards, and files that belong to a shard.

    Raises
    ------
    NotFoundError
        If the pair set is not published.

    Examples
    --------
    ``condition, picture = PairDataset(store, "demo", fingerprint, "train", 256)[0]``
    """

    def __init__(
        self,
        store: ObjectStore,
        dataset: str,
        fingerprint: str,
        split: str,
        image_size: int,
        min_density: float = 0,
    ) -> None:
        self._image_size = image_size
        self.split = split
        # Arrays, not rows: each loader process has a copy.
        self.records = read_pair_index(store, dataset, fingerprint, split)
        self._is_selected = ~(self.records.densities < min_density)
        self.selected_records = self.records.select(self._is_selected)
        self.num_blank = len(self.records) - len(self.selected_records)
        self.reader = open_pairs(store, dataset, fingerprint)
        self.shard_reader = ShardReader(store, self.records.total_bytes)

    def __len__(self) -> int:
        return len(self.selected_records)

    def __getitem__(self, index: int) -> Sample:
        """Return a pair as float tensors.

        Parameters
        ----------
        index : int
            0 to ``len(self) - 1``.

        Returns
        -------
        tuple of Tensor
            Condition, float32 (1, S, S) in [0, 1], and picture, float32 (3, S, S) in [-1, 1].

        Raises
        ------
        CorruptObjectError
            If the stored bytes are truncated or damaged.
        """
        drawing, picture = self.load_pair(index)
        scaled = scale_drawing(drawing, self._image_size), scale_picture(picture, self._image_size)
        return to_float32(*to_uint8(*scaled))

    def source_paths(self) -> list[str]:
        """Read the path in the source of each pair from the manifest, in the order of the pairs."""
        reader = self.reader
        rows = read_manifest(reader.store, reader.dataset, reader.fingerprint)
        split_rows = [row for row in rows if row.status == "pair" and row.split == self.split]
        return [
            row.source_path
            for row, selected in zip(split_rows, self._is_selected, strict=True)
            if selected
        ]

    def load_pair(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Load a pair as it is stored.

        Parameters
        ----------
        index : int
            0 to ``len(self) - 1``.

        Returns
        -------
        tuple of ndarray
            Drawing, uint8 256×256, and picture, uint8 256×256×3 RGB.

        Raises
        ------
        CorruptObjectError
            If the stored bytes are truncated or damaged.
        """
        records = self.selected_records
        key = self.reader.shard_key(int(records.shards[index]), self.split)
        offset, size = int(records.offsets[index]), int(records.sizes[index])
        data = self.shard_reader.read(key, offset, size)
        sha256 = records.digests[index].tobytes().hex()
        return decode_stored_pair(self.reader, key, offset, size, sha256, data)


class AugmentedPairDataset(Dataset[Sample]):
    """Pairs as a run is shown them: augmented, enlarged, cropped and flipped at random.

    Seed, epoch and index determine the randomness.

    Parameters
    ----------
    pairs : PairDataset
        The stored pairs.
    recipe : Recipe
        Its augmentation, image size, jitter, flip and seed.
    """

    def __init__(self, pairs: PairDataset, recipe: Recipe) -> None:
        self._pairs = pairs
        self._strokes = StrokeReader(pairs.reader, pairs.shard_reader, pairs.split, pairs.records)
        self._augment, self._augment_share = recipe.augment, recipe.augment_share
        self._image_size = recipe.image_size
        self._enlarged_size = self._image_size + round(recipe.jitter * self._image_size / PAIR_SIZE)
        self._hflip = recipe.hflip
        self._seed = recipe.seed

    def __getitem__(self, key: SampleKey) -> Sample:
        """Return a pair as byte tensors, for ``to_float32``.

        Parameters
        ----------
        key : SampleKey
            Which pair, in which epoch.

        Returns
        -------
        tuple of Tensor
            Condition, uint8 (1, S, S), and picture, uint8 (3, S, S).

        Raises
        ------
        CorruptObjectError
            If the stored bytes are truncated or damaged.
        """
        drawing, picture = self._pairs.load_pair(key.index)
        rng = np.random.default_rng([self._seed, key.epoch, key.index])
        y, x = rng.integers(0, self._enlarged_size - self._image_size + 1, 2)
        crop = np.s_[y : y + self._image_size, x : x + self._image_size]
        flip = self._hflip and rng.random() < 0.5
        if self._augment and rng.random() < self._augment_share:
            records = self._pairs.selected_records
            shard, position = int(records.shards[key.index]), int(records.positions[key.index])
            strokes = self._strokes.read(shard, position, drawing)
            drawing = augment_strokes(strokes, drawing.shape[0], rng, self._augment)
        drawing = scale_drawing(drawing, self._enlarged_size)[crop]
        picture = scale_picture(picture, self._enlarged_size)[crop]
        if flip:
            drawing, picture = drawing[:, ::-1], picture[:, ::-1]
        return to_uint8(drawing, picture)


def scale_drawing(drawing: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Scale a drawing (uint8 H×W) to side×side; an enlarged one stays black and white."""
    interpolation = cv2.INTER_AREA if side < drawing.shape[0] else cv2.INTER_NEAREST
    return cv2.resize(drawing, (side, side), interpolation=interpolation).astype(
        np.uint8, copy=False
    )


def scale_picture(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Scale a picture (uint8 H×W×3) to side×side×3."""
    interpolation = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(picture, (side, side), interpolation=interpolation).astype(
        np.uint8, copy=False
    )


def to_uint8(drawing: NDArray[np.uint8], picture: NDArray[np.uint8]) -> Sample:
    """Return a drawing and its picture as byte tensors.

    Bytes need a quarter of the memory of floats on the way from a loader process to the device.

    Parameters
    ----------
    drawing : ndarray
        uint8 S×S.
    picture : ndarray
        uint8 S×S×3.

    Returns
    -------
    tuple of Tensor
        uint8 (1, S, S) and (3, S, S).
    """
    parts = drawing[np.newaxis], picture.transpose(2, 0, 1)
    condition, target = (torch.from_numpy(np.ascontiguousarray(part)) for part in parts)
    return condition, target


def to_float32(condition: Tensor, picture: Tensor) -> Sample:
    """Convert byte tensors to the networks' ranges.

    Parameters
    ----------
    condition : Tensor
        uint8 of any shape.
    picture : Tensor
        uint8 of any shape.

    Returns
    -------
    tuple of Tensor
        float32 of the same shapes: condition in [0, 1], picture in [-1, 1].

    Examples
    --------
    >>> import torch
    >>> condition, picture = to_float32(*torch.tensor([[0, 255], [0, 255]], dtype=torch.uint8))
    >>> condition.tolist(), picture.tolist()
    ([0.0, 1.0], [-1.0, 1.0])
    """
    return condition.float().div_(255), picture.float().div_(127.5).sub_(1)


def to_condition(drawing: NDArray[np.uint8]) -> Tensor:
    """Return a drawing (uint8 S×S) as a float32 tensor (1, S, S) in [0, 1]."""
    return torch.from_numpy(drawing[np.newaxis].astype(np.float32) / 255)


def make_loader(
    pairs: PairDataset,
    recipe: Recipe,
    sampler: ResumableBatchSampler,
    device: torch.device,
    num_workers: int,
) -> DataLoader[Sample]:
    """Return a loader of a run's batches.

    Parameters
    ----------
    pairs : PairDataset
        The stored pairs.
    recipe : Recipe
        Augmentation and seed.
    sampler : ResumableBatchSampler
        The order of the pairs.
    device : torch.device
        Where the batches are used.
    num_workers : int
        Processes that load in advance; with 0 the training process loads. The batches are the same.

    Returns
    -------
    DataLoader
        Yields condition, uint8 (N, 1, S, S), and picture, uint8 (N, 3, S, S).
    """
    return DataLoader(
        AugmentedPairDataset(pairs, recipe),
        batch_sampler=sampler,
        num_workers=num_workers,
        # A fork of a process with Prefect's threads could deadlock.
        multiprocessing_context="spawn" if num_workers else None,
        worker_init_fn=partial(
            _ignore_stop_signals, _EXIT_TIMEOUT_S + round(recipe.shutdown_grace_s)
        ),
        pin_memory=device.type == "cuda",
        # Otherwise each start of a loader would advance the global state that checkpoints hold.
        generator=torch.Generator().manual_seed(recipe.seed),
    )


def _ignore_stop_signals(exit_timeout_s: int, _worker: int) -> None:
    """Leave Ctrl-C and SIGTERM, which reach the whole process group, to the training process.

    The training process ends its workers when it has stopped. A worker that hangs in a read exits
    ``exit_timeout_s`` seconds after SIGTERM.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(exit_timeout_s) and None)


def choose_num_workers(device: torch.device, context: DistributedContext) -> int:
    """Return the number of loader processes for one training process.

    0 on the CPU, where a step needs every core and takes far longer than loading.

    Parameters
    ----------
    device : torch.device
        Where the process trains.
    context : DistributedContext
        The processes that share this machine's cores.

    Returns
    -------
    int
        0 on the CPU, else 1 to 8.
    """
    if device.type != "cuda":
        return 0
    return max(1, min(8, get_usable_cores() // context.world_size))
