"""Pairs from the store as tensors, in an order that a seed and an epoch decide."""

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from postprocess import decode_pair, split_pair
from storage import ObjectStore
from storage.manifest import Row
from storage.pairsets import locate_pairs, read_manifest

Sample = tuple[Tensor, Tensor]


class PairDataset(Dataset[Sample]):
    """The pairs of one split, read from the store by offset and size.

    Parameters
    ----------
    store, dataset, fingerprint : which pair set.
    split : ``train`` or ``val``.
    image_size : side in pixels that both halves are scaled to.

    Raises
    ------
    NotFoundError
        If the pair set is not published.
    """

    def __init__(
        self, store: ObjectStore, dataset: str, fingerprint: str, split: str, image_size: int
    ) -> None:
        self._size = image_size
        rows = read_manifest(store, dataset, fingerprint)
        self._stored = locate_pairs(store, dataset, fingerprint)
        self.rows: list[Row] = [r for r in rows if r.status == "pair" and r.split == split]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """Return condition float32 (1, S, S) in [0, 1] and picture float32 (3, S, S) in [-1, 1].

        Raises
        ------
        IntegrityError
            If the stored bytes are cut short or damaged.
        """
        pair = decode_pair(self._stored.read(self.rows[index]))
        halves = split_pair(pair, self._stored.drawing)
        drawing, picture = (self._scale(half) for half in halves)
        condition = torch.from_numpy(drawing[np.newaxis].astype(np.float32) / 255)
        target = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1)
        return condition, target

    def _scale(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if image.shape[0] == self._size:
            return image
        size = (self._size, self._size)
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


class EpochSampler(Sampler[int]):
    """A shuffle that depends on the seed and the epoch alone, so that a resumed run repeats it.

    Parameters
    ----------
    count : how many pairs there are.
    seed, epoch : decide the order.
    done : how many of them were seen already.
    """

    def __init__(self, count: int, seed: int, epoch: int, done: int = 0) -> None:
        self._order = np.random.default_rng([seed, epoch]).permutation(count)[done:]

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[int]:
        return iter(self._order.tolist())


def make_loader(
    pairs: PairDataset, batch: int, seed: int, epoch: int, device: torch.device, done: int = 0
) -> DataLoader[Sample]:
    """Return an epoch's batches after those done: condition (N, 1, S, S), picture (N, 3, S, S)."""
    on_gpu = device.type == "cuda"
    return DataLoader(
        pairs,
        batch_size=batch,
        sampler=EpochSampler(len(pairs), seed, epoch, done * batch),
        # On the CPU the step needs every core itself.
        num_workers=4 if on_gpu else 0,
        # A fork of a process with Prefect's threads could hang.
        multiprocessing_context="spawn" if on_gpu else None,
        pin_memory=on_gpu,
        # Else each start of a loader would draw from the state that checkpoints keep.
        generator=torch.Generator().manual_seed(seed),
    )
