"""The exported files of a promoted checkpoint: content-addressed and written once."""

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
    """An example drawing and the picture that the generator makes of it.

    Attributes
    ----------
    drawing, picture : bytes
        PNG files.
    """

    drawing: bytes
    picture: bytes


@dataclass(frozen=True)
class StoredExport:
    """The fields of ``storage.promotions.Promotion`` that describe exported files.

    Attributes
    ----------
    export : str
        Name of the export's folder.
    weights, network : str
        SHA-256 (hex) of the generator as safetensors and as ONNX.
    examples : int
        Number of examples.
    """

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
    """Write a generator's files, verify them, and then write the card that marks them complete.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    weights : bytes
        The generator as safetensors.
    network : bytes
        The generator as ONNX. The digests of both files name the folder.
    card : bytes
        The model card, JSON.
    examples : sequence of Example
        Example drawings with their pictures.

    Returns
    -------
    StoredExport
        Folder and digests.

    Raises
    ------
    CorruptObjectError
        If a file that is read back differs from what was written.
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
    """Read a promoted generator as safetensors and verify its digest.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    promotion : Promotion
        The promotion.

    Returns
    -------
    bytes
        A safetensors file.

    Raises
    ------
    NotFoundError
        If the file does not exist.
    CorruptObjectError
        If the file is not the one that was promoted.
    """
    key = f"{keys.export_folder(dataset, promotion.export)}/{WEIGHTS_NAME}"
    return _read_verified(store, key, promotion.weights)


def read_onnx(store: ObjectStore, dataset: str, promotion: Promotion) -> bytes:
    """Read a promoted generator as ONNX and verify its digest; as ``read_weights``.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    promotion : Promotion
        The promotion.

    Returns
    -------
    bytes
        An ONNX file.
    """
    key = f"{keys.export_folder(dataset, promotion.export)}/{ONNX_NAME}"
    return _read_verified(store, key, promotion.network)


def read_example(
    store: ObjectStore,
    dataset: str,
    promotion: Promotion,
    number: int,
    part: Literal["drawing", "picture"],
) -> bytes:
    """Read an example's drawing or picture.

    Parameters
    ----------
    store : ObjectStore
        The store.
    dataset : str
        Name of the data set.
    promotion : Promotion
        The promotion.
    number : int, ≥ 0
        Number of the example.
    part : {'drawing', 'picture'}
        The drawing, or the picture that the generator made of it.

    Returns
    -------
    bytes
        A PNG file: a gray 256×256 drawing, or an RGB picture.

    Raises
    ------
    NotFoundError
        If the example does not exist.
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
