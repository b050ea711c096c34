"""Reader for HED as its authors published it: ``hed_pretrained_bsds.caffemodel``.

Caffe models are Protocol Buffers. Only the required fields are declared here, with the numbers of
Caffe's published ``caffe.proto``; undeclared fields are skipped.
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
from hed.graph import BLOCKS, SIDE_OUTPUTS, ConvLayer
from hed.weights.formatting import format_shape
from hed.weights.schema import AUTHORS_THRESHOLD, HedWeights, Shape, check_layers, check_shape

_Field = descriptor_pb2.FieldDescriptorProto
_OPTIONAL, _REPEATED = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED
_INT32, _INT64, _BYTES = _Field.TYPE_INT32, _Field.TYPE_INT64, _Field.TYPE_BYTES

# Message -> its fields: name, number, type (of a message: its name), label.
_MESSAGES: dict[str, list[tuple[str, int, int | str, int]]] = {
    "BlobShape": [("dim", 1, _INT64, _REPEATED)],
    "BlobProto": [
        ("num", 1, _INT32, _OPTIONAL),
        ("channels", 2, _INT32, _OPTIONAL),
        ("height", 3, _INT32, _OPTIONAL),
        ("width", 4, _INT32, _OPTIONAL),
        # Packed floats are stored as a run of bytes. Declaring them as bytes avoids 14.7 million
        # Python floats.
        ("data", 5, _BYTES, _REPEATED),
        ("shape", 7, "BlobShape", _OPTIONAL),
    ],
    # Names are bytes too: a name that is not UTF-8 must not fail the parser.
    "V1LayerParameter": [("name", 4, _BYTES, _OPTIONAL), ("blobs", 6, "BlobProto", _REPEATED)],
    "LayerParameter": [("name", 1, _BYTES, _OPTIONAL), ("blobs", 7, "BlobProto", _REPEATED)],
    "NetParameter": [
        ("layers", 2, "V1LayerParameter", _REPEATED),
        ("layer", 100, "LayerParameter", _REPEATED),
    ],
}

_LAYER_NAMES = {name.encode(): name for block in BLOCKS for name in block}
_LAYER_NAMES |= {f"score-{name}".encode(): name for name in SIDE_OUTPUTS} | {
    b"new-score-weighting": "fuse"
}

# The transposed convolutions that upsample side outputs 2 to 5: name -> stride.
_UPSAMPLING_STRIDES = {f"upsample_{stride}".encode(): stride for stride in (2, 4, 8, 16)}
_BILINEAR_TOLERANCE = 1e-3


def read_caffe(content: bytes, path: Path) -> HedWeights:
    """Read a ``.caffemodel`` file, with current layers or Caffe's legacy V1 layers.

    Parameters
    ----------
    content : bytes
        The file's content.
    path : Path
        The file's location, for error messages.

    Returns
    -------
    HedWeights

    Raises
    ------
    InputError
        If the file is damaged, does not hold HED, or does not upsample bilinearly.
    """
    net = _make_message_class("NetParameter")()
    try:
        net.ParseFromString(content)
    except message.DecodeError as error:
        raise InputError(
            f"HED weights {path} cannot be read as a Caffe model: the file is damaged, truncated "
            "or of another format. Download it again."
        ) from error
    layers: dict[str, ConvLayer] = {}
    for layer in chain(net.layers, net.layer):
        # The file also lists layers without arrays.
        if layer.blobs and layer.name in _LAYER_NAMES:
            name = _LAYER_NAMES[layer.name]
            layers[name] = _read_layer(name, layer.blobs, path)
        elif layer.blobs and layer.name in _UPSAMPLING_STRIDES:
            _check_bilinear(_UPSAMPLING_STRIDES[layer.name], layer.blobs, path)
    check_layers(layers, path)
    return HedWeights("caffe", hashlib.sha256(content).hexdigest(), AUTHORS_THRESHOLD, layers)


def _make_message_class(name: str) -> Any:
    package = "hed_caffe"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package)
    for message_name, fields in _MESSAGES.items():
        message_type = file.message_type.add(name=message_name)
        for field, number, field_type, label in fields:
            descriptor = message_type.field.add(name=field, number=number, label=label)
            if isinstance(field_type, str):
                descriptor.type, descriptor.type_name = (
                    _Field.TYPE_MESSAGE,
                    f".{package}.{field_type}",
                )
            else:
                descriptor.type = field_type
    # A separate pool: the default one may already contain another definition of Caffe's messages.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def _read_layer(name: str, blobs: Any, path: Path) -> ConvLayer:
    if len(blobs) != 2:
        raise InputError(
            f"HED weights {path}: {name} has {len(blobs)} array(s), and HED's layers have 2, "
            "kernel and bias. The file holds another network; choose a file of HED on VGG-16."
        )
    shapes = _read_shape(blobs[0], 4), _read_shape(blobs[1], 1)
    for part, shape in enumerate(shapes):
        check_shape(name, part, shape, path)
    return _read_array(blobs[0], shapes[0], name, path), _read_array(
        blobs[1], shapes[1], name, path
    )


def _check_bilinear(stride: int, blobs: Any, path: Path) -> None:
    """Reject any upsampling but the paper's fixed bilinear one, which the graph implements."""
    ramp = 1 - np.abs(np.arange(2 * stride) - (stride - 0.5)) / stride
    # The bias is 0.
    for blob, expected in zip(blobs, (np.outer(ramp, ramp)[None, None], np.zeros(1)), strict=False):
        matches = _read_shape(blob, expected.ndim) == expected.shape
        if matches:
            abs_diff = np.abs(
                _read_array(blob, expected.shape, f"upsample_{stride}", path) - expected
            )
            # Written such that a NaN fails too.
            matches = bool((abs_diff <= _BILINEAR_TOLERANCE).all())
        if not matches:
            raise InputError(
                f"HED weights {path}: upsample_{stride} is not HED's bilinear upsampling. The file "
                "holds another network; choose a file of HED on VGG-16."
            )


def _read_shape(blob: Any, dimensions: int) -> Shape:
    """Return a blob's shape; legacy blobs always have four dimensions, such as 1×1×1×O."""
    legacy_shape = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else legacy_shape
    while len(shape) > dimensions and shape[0] == 1:
        shape = shape[1:]
    return shape


def _read_array(blob: Any, shape: Shape, name: str, path: Path) -> NDArray[np.float32]:
    data = b"".join(blob.data)
    if len(data) != 4 * int(np.prod(shape)):
        raise InputError(
            f"HED weights {path}: {name} declares {format_shape(shape)} numbers and contains "
            f"{len(data)} bytes. The file is damaged or not in single precision; download it again."
        )
    return np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)
