"""The files of a promoted checkpoint: written once, named by what they hold, served from there."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from config.errors import CorruptObjectError
from storage import keys
from storage.promotions import ONNX_NAME, WEIGHTS_NAME, Promotion, example_name
from storage.store import ObjectStore


@dataclass(frozen=True)
class Example:
    """A drawing, and what the generator makes of it; both PNG."""

    drawing: bytes
    picture: bytes


@dataclass(frozen=True)
class StoredExport:
    """What a promotion says of its files; see ``storage.promotions.Promotion``."""

    export: str
    weights: str
    network: str
    examples: int


def write_export(
    store: ObjectStore,
    dataset: str,
    weights: bytes,
    network: bytes,
    card: bytes,
    examples: Sequence[Example],
) -> StoredExport:
    """Write a generator's files, read them back, and mark them complete.

    Parameters
    ----------
    store, dataset : where they go.
    weights, network : the generator as safetensors and as ONNX; they name the folder.
    card : JSON; what is to be known of it.
    examples : of what it does.

    Raises
    ------
    CorruptObjectError
        If what is read back is not what was written.
    """
    weights_digest, onnx_digest = (hashlib.sha256(data).hexdigest() for data in (weights, network))
    name = hashlib.sha256(f"{weights_digest}{onnx_digest}".encode()).hexdigest()[:16]
    folder = keys.export_folder(dataset, name)
    files = {WEIGHTS_NAME: weights, ONNX_NAME: network}
    for number, example in enumerate(examples):
        files[example_name(number, "drawing")] = example.drawing
        files[example_name(number, "picture")] = example.picture
    for file, data in files.items():
        store.put(f"{folder}/{file}", data)
    for file, data in files.items():
        _read_verified(store, f"{folder}/{file}", hashlib.sha256(data).hexdigest())
    store.put(keys.export_card(dataset, name), card)
    return StoredExport(name, weights_digest, onnx_digest, len(examples))


def read_weights(store: ObjectStore, dataset: str, promotion: Promotion) -> bytes:
    """Return a promoted generator as safetensors, checked.

    Raises
    ------
    NotFoundError
        If it is not there.
    CorruptObjectError
        If it is not what was promoted.
    """
    key = f"{keys.export_folder(dataset, promotion.export)}/{WEIGHTS_NAME}"
    return _read_verified(store, key, promotion.weights)


def read_onnx(store: ObjectStore, dataset: str, promotion: Promotion) -> bytes:
    """Return a promoted generator as ONNX, checked; errors as ``read_weights``."""
    key = f"{keys.export_folder(dataset, promotion.export)}/{ONNX_NAME}"
    return _read_verified(store, key, promotion.network)


def read_example(
    store: ObjectStore,
    dataset: str,
    promotion: Promotion,
    number: int,
    part: Literal["drawing", "picture"],
) -> bytes:
    """Return a PNG: an example's drawing (grey, 256×256), or the generator's picture of it (RGB).

    Raises
    ------
    NotFoundError
        If there is none of that number.
    """
    folder = keys.export_folder(dataset, promotion.export)
    return store.get(f"{folder}/{example_name(number, part)}")


def _read_verified(store: ObjectStore, key: str, digest: str) -> bytes:
    data = store.get(key)
    if hashlib.sha256(data).hexdigest() != digest:
        raise CorruptObjectError(
            f"{store.location(key)} fails its SHA-256 check. Promote the checkpoint again."
        )
    return data
