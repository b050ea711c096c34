"""Edge detectors from files: the published forms of HED's weights, or an ONNX network."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from config.errors import InputError
from hed.weights.caffe import read_caffe
from hed.weights.default import default_weights_path, fetch_default_weights, verify_default
from hed.weights.keras import read_keras
from hed.weights.onnx_model import check_model
from hed.weights.schema import Weights

__all__ = ["Weights", "default_weights_path", "fetch_default_weights", "load_weights"]

_Reader = Callable[[bytes, Path], Weights]

# No Protocol Buffer may be larger, and HED's files are 60 MB.
_LARGEST = 2 << 30

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
# A pickle starts with this and its protocol's number.
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_PAGES = (b"<!doctype html", b"<html")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def load_weights(path: Path | None = None) -> Weights:
    """Read an edge detector's file, whichever form it has.

    Parameters
    ----------
    path : the file; the default weights, fetched on first use, when None.

    Raises
    ------
    InputError
        If the file is missing, of no known form, damaged, or not HED's.
    IntegrityError
        If the cached default file is not what was pinned.
    SourceError, StorageError
        If the default weights cannot be fetched or kept.
    """
    if path is not None:
        content = _read_file(path)
        return _choose_reader(content, path)(content, path)
    path = fetch_default_weights()
    content = _read_file(path)
    verify_default(content, str(path))
    return read_keras(content, path)


def _read_file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"HED weights {path} are no regular file. Give the file itself.")
        if size > _LARGEST:
            raise InputError(
                f"HED weights {path} are larger than 2 GiB, and HED's are 60 MB. "
                "Choose a file of weights."
            )
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"HED weights {path} cannot be read: {error.strerror}. Check the path."
        ) from error
    if not content:
        raise InputError(f"HED weights {path} are an empty file. Fetch or save it again.")
    return content


def _choose_reader(content: bytes, path: Path) -> _Reader:
    """Recognise a form by its first bytes; where they tell little, by the name too."""
    if content.startswith(_HDF5):
        return read_keras
    if content.startswith((_ZIP, *_PICKLES)):
        # PyTorch takes seconds to import.
        from hed.weights.pytorch import read_pytorch

        return read_pytorch
    if content[:1024].removeprefix(_BYTE_ORDER_MARK).lstrip().lower().startswith(_PAGES):
        raise InputError(
            f"HED weights {path} is a web page, not weights: the link led to a page about the "
            "file. Download the file itself."
        )
    # A Protocol Buffer starts with its first field's number: in ONNX the version of its form, in
    # Caffe the network's name.
    by_name: dict[str, _Reader] = {".onnx": _read_onnx, ".caffemodel": read_caffe}
    by_field: dict[bytes, _Reader] = {b"\x08": _read_onnx, b"\x0a": read_caffe}
    reader = by_name.get(path.suffix.lower()) or by_field.get(content[:1])
    if reader is None:
        raise InputError(
            f"HED weights {path} are of no known form. Give a .weights.h5 of Keras, a .caffemodel, "
            "a .pytorch or .pth state_dict, or an .onnx network (docs/weights.md)."
        )
    return reader


def _read_onnx(content: bytes, path: Path) -> Weights:
    check_model(content, path)
    # Whoever made the network knows its threshold.
    return Weights("onnx", hashlib.sha256(content).hexdigest(), None, model=content)
