"""HED as its authors published it: ``hed_pretrained_bsds.caffemodel``.

Caffe models are Protocol Buffers. Only the fields that are needed are declared here, by the
numbers that Caffe's published ``caffe.proto`` gives them; what is not declared is skipped.
"""

import hashlib
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message,
    message_factory,
)
from numpy.typing import NDArray

from config.errors import InputError
from hed.graph import BLOCKS, SIDES, Layer
from hed.weights.formatting import write_shape
from hed.weights.schema import AUTHORS_THRESHOLD, Shape, Weights, check_layers, check_shape

_Field = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
_INT32, _INT64, _BYTES = _Field.TYPE_INT32, _Field.TYPE_INT64, _Field.TYPE_BYTES

# Message -> its fields: name, number, type (a message's by its name), how many.
_MESSAGES: dict[str, list[tuple[str, int, int | str, int]]] = {
    "BlobShape": [("dim", 1, _INT64, _MANY)],
    "BlobProto": [
        ("num", 1, _INT32, _ONE),
        ("channels", 2, _INT32, _ONE),
        ("height", 3, _INT32, _ONE),
        ("width", 4, _INT32, _ONE),
        # Packed floats lie in the file as a run of bytes. Declared as such, 14.7 million of them
        # never become Python numbers.
        ("data", 5, _BYTES, _MANY),
        ("shape", 7, "BlobShape", _ONE),
    ],
    # Bytes for names too: one that is no UTF-8 is no reason to stop.
    "V1LayerParameter": [("name", 4, _BYTES, _ONE), ("blobs", 6, "BlobProto", _MANY)],
    "LayerParameter": [("name", 1, _BYTES, _ONE), ("blobs", 7, "BlobProto", _MANY)],
    "NetParameter": [
        ("layers", 2, "V1LayerParameter", _MANY),
        ("layer", 100, "LayerParameter", _MANY),
    ],
}

_NAMES = {name.encode(): name for block in BLOCKS for name in block}
_NAMES |= {f"score-{name}".encode(): name for name in SIDES} | {b"new-score-weighting": "fuse"}

# The transposed convolutions that bring sides 2 to 5 to the picture's size: name -> stride.
_UPSAMPLING = {f"upsample_{stride}".encode(): stride for stride in (2, 4, 8, 16)}
_BILINEAR_TOLERANCE = 1e-3


def read_caffe(content: bytes, path: Path) -> Weights:
    """Read a ``.caffemodel`` file, of today's layers or of Caffe's first ones (V1).

    Parameters
    ----------
    content : the file's bytes.
    path : where it lies, for messages.

    Raises
    ------
    InputError
        If it is damaged or not HED's, or upsamples other than bilinearly.
    """
    net = _make_message_class("NetParameter")()
    try:
        net.ParseFromString(content)
    except message.DecodeError as error:
        raise InputError(
            f"HED weights {path} cannot be read as a Caffe model: the file is damaged, cut short "
            "or of another kind. Fetch it again."
        ) from error
    layers: dict[str, Layer] = {}
    for layer in chain(net.layers, net.layer):
        # Layers without arrays are listed too.
        if layer.blobs and layer.name in _NAMES:
            name = _NAMES[layer.name]
            layers[name] = _read_layer(name, layer.blobs, path)
        elif layer.blobs and layer.name in _UPSAMPLING:
            _check_bilinear(_UPSAMPLING[layer.name], layer.blobs, path)
    check_layers(layers, path)
    return Weights("caffe", hashlib.sha256(content).hexdigest(), AUTHORS_THRESHOLD, layers)


def _make_message_class(name: str) -> Any:
    package = "hed_caffe"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package)
    for title, fields in _MESSAGES.items():
        declared = file.message_type.add(name=title)
        for field, number, kind, label in fields:
            added = declared.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                added.type = kind
    # A pool of its own: the process's may hold another program's Caffe.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def _read_layer(name: str, blobs: Any, path: Path) -> Layer:
    if len(blobs) != 2:
        raise InputError(
            f"HED weights {path}: {name} holds {len(blobs)} array(s), and HED's layers hold 2, "
            "kernel and bias. The file is of another network; choose one of HED on VGG-16."
        )
    shapes = _shape(blobs[0], 4), _shape(blobs[1], 1)
    for part, shape in enumerate(shapes):
        check_shape(name, part, shape, path)
    return _read(blobs[0], shapes[0], name, path), _read(blobs[1], shapes[1], name, path)


def _check_bilinear(stride: int, blobs: Any, path: Path) -> None:
    """Refuse an upsampling other than the fixed one of the paper: the graph has that one."""
    ramp = 1 - np.abs(np.arange(2 * stride) - (stride - 0.5)) / stride
    # Its bias is 0.
    for blob, wanted in zip(blobs, (np.outer(ramp, ramp)[None, None], np.zeros(1)), strict=False):
        same = _shape(blob, wanted.ndim) == wanted.shape
        if same:
            off = np.abs(_read(blob, wanted.shape, f"upsample_{stride}", path) - wanted)
            # So that a NaN fails, too.
            same = bool((off <= _BILINEAR_TOLERANCE).all())
        if not same:
            raise InputError(
                f"HED weights {path}: upsample_{stride} is not the bilinear upsampling that HED "
                "has. The file is of another network; choose one of HED on VGG-16."
            )


def _shape(blob: Any, dimensions: int) -> Shape:
    """Return a blob's shape; Caffe's first blobs had four sides always, biases 1×1×1×O."""
    first = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else first
    while len(shape) > dimensions and shape[0] == 1:
        shape = shape[1:]
    return shape


def _read(blob: Any, shape: Shape, name: str, path: Path) -> NDArray[np.float32]:
    data = b"".join(blob.data)
    if len(data) != 4 * int(np.prod(shape)):
        raise InputError(
            f"HED weights {path}: {name} declares {write_shape(shape)} numbers and holds "
            f"{len(data)} bytes. The file is damaged or not in single precision; fetch it again."
        )
    return np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)
