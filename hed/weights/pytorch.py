"""Reader for HED state dicts saved by PyTorch, in the two published layouts.

One is Niklaus's conversion of the authors' weights, ``network-bsds500.pytorch``; the other is
ControlNet's own training, ``ControlNetHED.pth``.
"""

import hashlib
import io
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from config.errors import InputError
from hed.graph import BLOCKS, SIDE_OUTPUTS, ConvLayer
from hed.weights.schema import AUTHORS_THRESHOLD, HedWeights, Mean, check_layers, check_shape

_ZIP_MAGIC = b"PK"
_NUMERALS = ("One", "Two", "Thr", "Fou", "Fiv")

# Layer -> key without .weight and .bias. In Niklaus's sequences an activation follows every
# convolution, and all blocks but the first start with a pooling.
_NIKLAUS_KEYS = {
    name: f"netVgg{numeral}.{2 * index + (numeral != 'One')}"
    for numeral, block in zip(_NUMERALS, BLOCKS, strict=True)
    for index, name in enumerate(block)
}
_NIKLAUS_KEYS |= {
    side: f"netScore{numeral}" for numeral, side in zip(_NUMERALS, SIDE_OUTPUTS, strict=True)
} | {"fuse": "netCombine.0"}

_CONTROLNET_KEYS = {
    name: f"block{b}.convs.{index}"
    for b, block in enumerate(BLOCKS, start=1)
    for index, name in enumerate(block)
} | {side: f"block{b}.projection" for b, side in enumerate(SIDE_OUTPUTS, start=1)}


def read_pytorch(content: bytes, path: Path) -> HedWeights:
    """Read a state dict, either as the whole file or as its entry ``state_dict``.

    Parameters
    ----------
    content : bytes
        The file's content: a zip archive or PyTorch's legacy format.
    path : Path
        The file's location, for error messages.

    Returns
    -------
    HedWeights

    Raises
    ------
    InputError
        If the file is damaged, contains code, is compressed, or does not hold HED.
    """
    if content.startswith(_ZIP_MAGIC):
        _check_archive(content, path)
    state = _load_state_dict(content, path)
    digest = hashlib.sha256(content).hexdigest()
    if "norm" in state and "block1.projection.weight" in state:
        layers = _read_layers(state, _CONTROLNET_KEYS, path)
        mean = _adapt_controlnet(layers, state["norm"], path)
        check_layers(layers, path)
        return HedWeights("controlnet", digest, None, layers, mean=mean)
    # Older files use the prefix "module" instead of "net".
    state = {_replace_prefix(key, "module", "net"): value for key, value in state.items()}
    if not any(f"{key}.weight" in state for key in _NIKLAUS_KEYS.values()):
        raise InputError(
            f"HED weights {path} have unknown layer names. Choose network-bsds500.pytorch, "
            "ControlNetHED.pth, or a state_dict with the names of either."
        )
    layers = _read_layers(state, _NIKLAUS_KEYS, path)
    check_layers(layers, path)
    return HedWeights("pytorch", digest, AUTHORS_THRESHOLD, layers)


def _check_archive(content: bytes, path: Path) -> None:
    """Reject compressed archives: PyTorch stores members uncompressed."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _damaged_error(path) from error
    is_compressed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if is_compressed or sum(member.file_size for member in members) > len(content):
        raise InputError(
            f"HED weights {path} are a compressed archive, which PyTorch does not write. "
            "Unpack it and pass the file in it."
        )


def _load_state_dict(content: bytes, path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            # PyTorch warns of the pickle protocol, for example; loading then fails or succeeds.
            warnings.simplefilter("ignore")
            # weights_only rejects a pickle with anything but tensors and plain containers before
            # any of it runs.
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # On a damaged pickle the loader may raise any exception.
    except Exception as error:
        raise _damaged_error(path) from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise InputError(
            f"HED weights {path} contain a {type(loaded).__name__}, not a state_dict. "
            "Save the network's state_dict()."
        )
    return {key: value for key, value in loaded.items() if isinstance(key, str)}


def _damaged_error(path: Path) -> InputError:
    return InputError(
        f"HED weights {path} cannot be read as PyTorch weights: the file is damaged, truncated, or "
        "contains other objects than tensors, which could run code. Download it again, or save a "
        "state_dict()."
    )


def _read_layers(
    state: Mapping[str, Any], keys: Mapping[str, str], path: Path
) -> dict[str, ConvLayer]:
    layers = {}
    for name, key in keys.items():
        kernel, bias = state.get(f"{key}.weight"), state.get(f"{key}.bias")
        if kernel is not None and bias is not None:
            for part, values in enumerate((kernel, bias)):
                _check_tensor(values, name, path)
                check_shape(name, part, values.shape, path)
            layers[name] = _to_numpy(kernel), _to_numpy(bias)
    return layers


def _adapt_controlnet(layers: dict[str, ConvLayer], norm: Any, path: Path) -> Mean:
    """Convert ControlNet's layers to ours in place; return the mean to subtract, as BGR.

    ControlNet's network takes RGB, and its edges are the sigmoid of the mean of its five side
    outputs.
    """
    _check_tensor(norm, "norm", path)
    if norm.shape != (1, 3, 1, 1) or not norm.isfinite().all():
        raise InputError(
            f"HED weights {path}: norm must be three finite numbers of shape 1×3×1×1, as "
            "in ControlNetHED.pth. Download that file again."
        )
    if "conv1_1" in layers:
        kernel, bias = layers["conv1_1"]
        layers["conv1_1"] = np.ascontiguousarray(kernel[:, ::-1]), bias
    mean_kernel = np.full((1, len(SIDE_OUTPUTS), 1, 1), 1 / len(SIDE_OUTPUTS), np.float32)
    layers["fuse"] = mean_kernel, np.zeros(1, np.float32)
    red, green, blue = norm.flatten().tolist()
    return blue, green, red


def _check_tensor(values: Any, name: str, path: Path) -> None:
    is_dense = isinstance(values, torch.Tensor) and values.layout is torch.strided
    if not is_dense or not values.is_floating_point() or values.device.type != "cpu":
        raise InputError(
            f"HED weights {path}: {name} is not a dense floating-point tensor. "
            "Save the network's state_dict() in single precision."
        )


def _to_numpy(values: torch.Tensor) -> NDArray[np.float32]:
    # ControlNetHED.pth is stored in half precision.
    return np.array(values.detach().to(torch.float32).numpy())


def _replace_prefix(key: str, old: str, new: str) -> str:
    return new + key.removeprefix(old) if key.startswith(old) else key
