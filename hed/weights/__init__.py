"""Loading of HED's weights in their published formats, or of a custom ONNX network."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from config.errors import InputError
from hed.weights.caffe import read_caffe
from hed.weights.default import default_weights_path, fetch_default_weights, verify_default_weights
from hed.weights.keras import read_keras
from hed.weights.onnx_model import check_onnx_model
from hed.weights.schema import HedWeights

__all__ = ["HedWeights", "default_weights_path", "fetch_default_weights", "load_weights"]

_WeightsReader = Callable[[bytes, Path], HedWeights]

# In bytes: the limit of a Protocol Buffer. HED's files have 60 MB.
_MAX_FILE_SIZE = 2 << 30

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ZIP_MAGIC = b"PK\x03\x04"
# A pickle starts with the opcode PROTO and the protocol's number.
_PICKLE_MAGICS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_HTML_PREFIXES = (b"<!doctype html", b"<html")
_UTF8_BOM = b"\xef\xbb\xbf"


def load_weights(path: Path | None = None) -> HedWeights:
    """Read a weights file, recognizing its format by its content.

    Parameters
    ----------
    path : Path or None
        The file; None for the default weights, which are fetched on first use.

    Returns
    -------
    HedWeights

    Raises
    ------
    InputError
        If the file is missing, damaged, of an unknown format, or does not hold HED.
    IntegrityError
        If the cached default file does not match the pinned checksum.
    SourceError, StorageError
        If the default weights cannot be fetched or stored.
    """
    if path is not None:
        content = _read_file(path)
        return _detect_reader(content, path)(content, path)
    path = fetch_default_weights()
    content = _read_file(path)
    verify_default_weights(content, str(path))
    return read_keras(content, path)


def _read_file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(
                f"HED weights {path} are not a regular file. Pass the path of the file itself."
            )
        if size > _MAX_FILE_SIZE:
            raise InputError(
                f"HED weights {path} are larger than 2 GiB; HED's weights have 60 MB. "
                "Choose a weights file."
            )
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"HED weights {path} cannot be read: {error.strerror}. Check the path."
        ) from error
    if not content:
        raise InputError(f"HED weights {path} are an empty file. Download or save it again.")
    return content


def _detect_reader(content: bytes, path: Path) -> _WeightsReader:
    """Choose a reader by the first bytes of the file or, where these are ambiguous, by its name."""
    if content.startswith(_HDF5_MAGIC):
        return read_keras
    if content.startswith((_ZIP_MAGIC, *_PICKLE_MAGICS)):
        # PyTorch takes seconds to import.
        from hed.weights.pytorch import read_pytorch

        return read_pytorch
    if content[:1024].removeprefix(_UTF8_BOM).lstrip().lower().startswith(_HTML_PREFIXES):
        raise InputError(
            f"HED weights {path} is a web page, not a weights file: the link led to a page about "
            "the file. Download the file itself."
        )
    # A Protocol Buffer starts with the number of its first field: in ONNX the IR version, in Caffe
    # the network's name.
    by_name: dict[str, _WeightsReader] = {".onnx": _read_onnx, ".caffemodel": read_caffe}
    by_field: dict[bytes, _WeightsReader] = {b"\x08": _read_onnx, b"\x0a": read_caffe}
    reader = by_name.get(path.suffix.lower()) or by_field.get(content[:1])
    if reader is None:
        raise InputError(
            f"HED weights {path} have an unknown format. Use a .weights.h5 of Keras, a "
            ".caffemodel, a .pytorch or .pth state_dict, or an .onnx network (docs/weights.md)."
        )
    return reader


def _read_onnx(content: bytes, path: Path) -> HedWeights:
    check_onnx_model(content, path)
    # A custom network has no known threshold: the user passes it.
    return HedWeights("onnx", hashlib.sha256(content).hexdigest(), None, model=content)
