"""Pairs from the store as tensors, in an order that a seed and an epoch decide."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from config.recipe import Recipe
from config.settings import usable_cores
from model.data.augmentation import augment_strokes
from model.data.decoding import decode_halves
from model.data.stroke_cache import TracedStrokes
from model.training.distributed import ALONE, Crew, Share
from postprocess import PAIR_SIZE
from storage import ObjectStore
from storage.pair_sets import locate_pairs, locate_split, read_manifest
from storage.shard_reader import OpenShards

Sample = tuple[Tensor, Tensor]

# Seconds that a training process has, besides its grace, to end after a signal.
_LEAVE = 60


class PairDataset(Dataset[Sample]):
    """The pairs of one split, read by offset and size from shards that stay open.

    Parameters
    ----------
    store, dataset, fingerprint : which pair set.
    split : ``train`` or ``val``.
    image_size : side in pixels that both halves are scaled to.
    min_density : pairs with a smaller share of line pixels are left out: next to blank drawings
        make gradients explode in the instance norms.

    Attributes
    ----------
    split : as given.
    found : places of all pairs of the split.
    places : of the pairs that are there.
    blank : how many were left out.
    stored : where the pairs are.
    shards : theirs, and what else there is a file a shard of.

    Raises
    ------
    NotFoundError
        If the pair set is not published.
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
        self._size = image_size
        self.split = split
        # Arrays, not rows: each loader's process has a copy.
        self.found = locate_split(store, dataset, fingerprint, split)
        self._kept = ~(self.found.densities < min_density)
        self.places = self.found.choose(self._kept)
        self.blank = len(self.found) - len(self.places)
        self.stored = locate_pairs(store, dataset, fingerprint)
        self.shards = OpenShards(store, self.found.total)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        """Return condition float32 (1, S, S) in [0, 1] and picture float32 (3, S, S) in [-1, 1].

        Raises
        ------
        IntegrityError
            If the stored bytes are cut short or damaged.
        """
        drawing, picture = self.halves(index)
        scaled = scale_drawing(drawing, self._size), scale_picture(picture, self._size)
        return to_floats(*to_bytes(*scaled))

    def source_paths(self) -> list[str]:
        """Return where in the source each pair came from; a look into the manifest."""
        stored = self.stored
        rows = read_manifest(stored.store, stored.dataset, stored.fingerprint)
        found = [row for row in rows if row.status == "pair" and row.split == self.split]
        return [row.source_path for row, kept in zip(found, self._kept, strict=True) if kept]

    def halves(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return drawing (uint8 256×256) and picture (uint8 256×256×3) as they are stored.

        Raises
        ------
        IntegrityError
            If the stored bytes are cut short or damaged.
        """
        places = self.places
        key = self.stored.shard_key(int(places.shards[index]), self.split)
        offset, size = int(places.offsets[index]), int(places.sizes[index])
        data = self.shards.read(key, offset, size)
        sha256 = places.digests[index].tobytes().hex()
        return decode_halves(self.stored, key, offset, size, sha256, data)


@dataclass(frozen=True)
class Draw:
    """A pair at its turn."""

    epoch: int
    index: int


class TrainingPairs(Dataset[Sample]):
    """Pairs as a run is shown them: augmented, enlarged, cut and mirrored as chance has it.

    Seed, epoch and pair decide what chance that is.

    Parameters
    ----------
    pairs : as they are stored.
    recipe : augmentation, image size, jitter, mirror and seed.
    """

    def __init__(self, pairs: PairDataset, recipe: Recipe) -> None:
        self._pairs = pairs
        self._strokes = TracedStrokes(pairs.stored, pairs.shards, pairs.split, pairs.found)
        self._augment, self._share = recipe.augment, recipe.augment_share
        self._size = recipe.image_size
        self._enlarged = self._size + round(recipe.jitter * self._size / PAIR_SIZE)
        self._mirror = recipe.mirror
        self._seed = recipe.seed

    def __getitem__(self, draw: Draw) -> Sample:
        """Return condition uint8 (1, S, S) and picture uint8 (3, S, S), for ``to_floats``.

        Raises
        ------
        IntegrityError
            If the stored bytes are cut short or damaged.
        """
        drawing, picture = self._pairs.halves(draw.index)
        random = np.random.default_rng([self._seed, draw.epoch, draw.index])
        y, x = random.integers(0, self._enlarged - self._size + 1, 2)
        cut = np.s_[y : y + self._size, x : x + self._size]
        mirrored = self._mirror and random.random() < 0.5
        if self._augment and random.random() < self._share:
            places = self._pairs.places
            shard, number = int(places.shards[draw.index]), int(places.numbers[draw.index])
            strokes = self._strokes.read(shard, number, drawing)
            drawing = augment_strokes(strokes, drawing.shape[0], random, self._augment)
        drawing = scale_drawing(drawing, self._enlarged)[cut]
        picture = scale_picture(picture, self._enlarged)[cut]
        if mirrored:
            drawing, picture = drawing[:, ::-1], picture[:, ::-1]
        return to_bytes(drawing, picture)


def scale_drawing(drawing: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Scale a drawing (uint8 H×W) to a square; enlarged, it stays black and white."""
    way = cv2.INTER_AREA if side < drawing.shape[0] else cv2.INTER_NEAREST
    return cv2.resize(drawing, (side, side), interpolation=way).astype(np.uint8, copy=False)


def scale_picture(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Scale a picture (uint8 H×W×3) to a square."""
    way = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(picture, (side, side), interpolation=way).astype(np.uint8, copy=False)


def to_bytes(drawing: NDArray[np.uint8], picture: NDArray[np.uint8]) -> Sample:
    """Return a drawing (uint8 S×S) and its picture (S×S×3) as uint8 (1, S, S) and (3, S, S).

    As bytes a batch goes from a loader's process to the device in a quarter of the memory.
    """
    parts = drawing[np.newaxis], picture.transpose(2, 0, 1)
    condition, target = (torch.from_numpy(np.ascontiguousarray(part)) for part in parts)
    return condition, target


def to_floats(condition: Tensor, picture: Tensor) -> Sample:
    """Return uint8 conditions and pictures of any shape as float32 in [0, 1] and in [-1, 1]."""
    return condition.float().div_(255), picture.float().div_(127.5).sub_(1)


def to_condition(drawing: NDArray[np.uint8]) -> Tensor:
    """Return a drawing (uint8 S×S) as float32 (1, S, S) in [0, 1]."""
    return torch.from_numpy(drawing[np.newaxis].astype(np.float32) / 255)


class RunSampler(Sampler[list[Draw]]):
    """A process's share of all batches of a run, in an order that seed and epoch alone decide.

    Every epoch shows every pair once; its last batch may be small. So a resumed run repeats what
    an undisturbed one is shown, and workers are ahead of it across the end of an epoch.

    Parameters
    ----------
    count : how many pairs there are.
    recipe : batch, epochs and seed.
    epoch, done : epochs that are over, and batches of the next.
    crew : who shares the batches.
    """

    def __init__(
        self, count: int, recipe: Recipe, epoch: int = 0, done: int = 0, crew: Crew = ALONE
    ) -> None:
        self._count, self._recipe = count, recipe
        self._epoch, self._done = epoch, done
        self._crew = crew
        self.batches = -(-count // recipe.batch)

    def __len__(self) -> int:
        return (self._recipe.epochs - self._epoch) * self.batches - self._done

    def share(self, batch: int) -> Share:
        """Return this process's share of an epoch's batch of that number, from 0."""
        size = self._recipe.batch
        return self._crew.share(min(size, self._count - batch * size))

    def __iter__(self) -> Iterator[list[Draw]]:
        done, batch = self._done, self._recipe.batch
        for epoch in range(self._epoch, self._recipe.epochs):
            order = np.random.default_rng([self._recipe.seed, epoch]).permutation(self._count)
            for number in range(done, self.batches):
                chosen = order[number * batch : (number + 1) * batch]
                yield [Draw(epoch, int(index)) for index in chosen[self.share(number).places]]
            done = 0


def make_loader(
    pairs: PairDataset, recipe: Recipe, sampler: RunSampler, device: torch.device, workers: int
) -> DataLoader[Sample]:
    """Return a run's batches: condition uint8 (N, 1, S, S), picture uint8 (N, 3, S, S).

    Parameters
    ----------
    pairs, recipe, sampler : what is shown, and when.
    device : where the batches go.
    workers : processes that read ahead; with 0 the training process reads between two steps. They
        change no batch.
    """
    return DataLoader(
        TrainingPairs(pairs, recipe),
        batch_sampler=sampler,
        num_workers=workers,
        # A fork of a process with Prefect's threads could hang.
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=partial(_leave_signals, _LEAVE + round(recipe.grace)),
        pin_memory=device.type == "cuda",
        # Else each start of a loader would draw from the state that checkpoints keep.
        generator=torch.Generator().manual_seed(recipe.seed),
    )


def _leave_signals(seconds: int, _worker: int) -> None:
    """Leave Ctrl-C and SIGTERM, which reach a whole group of processes, to the training process.

    It ends its workers when it has stopped; one that reads from a store that hangs ends itself so
    many seconds after SIGTERM.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(seconds) and None)


def count_workers(device: torch.device, crew: Crew) -> int:
    """Return how many loader processes go with the device of one process of a crew.

    On the CPU none: a step needs every core itself, and takes far longer than reading.
    """
    if device.type != "cuda":
        return 0
    return max(1, min(8, usable_cores() // crew.size))
