"""HED's state dicts as PyTorch saves them, of the two networks whose files are published.

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
from hed.graph import BLOCKS, SIDES, Layer
from hed.weights.schema import AUTHORS_THRESHOLD, Mean, Weights, check_layers, check_shape

_ZIP = b"PK"
_NUMERALS = ("One", "Two", "Thr", "Fou", "Fiv")

# Layer -> key, less .weight and .bias. In Niklaus's sequences an activation follows every
# convolution, and from the second on a pooling comes first.
_NIKLAUS = {
    name: f"netVgg{numeral}.{2 * index + (numeral != 'One')}"
    for numeral, block in zip(_NUMERALS, BLOCKS, strict=True)
    for index, name in enumerate(block)
}
_NIKLAUS |= {side: f"netScore{numeral}" for numeral, side in zip(_NUMERALS, SIDES, strict=True)} | {
    "fuse": "netCombine.0"
}

_CONTROLNET = {
    name: f"block{b}.convs.{index}"
    for b, block in enumerate(BLOCKS, start=1)
    for index, name in enumerate(block)
} | {side: f"block{b}.projection" for b, side in enumerate(SIDES, start=1)}


def read_pytorch(content: bytes, path: Path) -> Weights:
    """Read a state dict, alone or as the entry ``state_dict`` of a larger one.

    Parameters
    ----------
    content : the file's bytes, a zip archive or PyTorch's older form.
    path : where it lies, for messages.

    Raises
    ------
    InputError
        If it is damaged, holds code, unfolds into more than its size, or is not HED's.
    """
    if content.startswith(_ZIP):
        _check_archive(content, path)
    state = _load(content, path)
    digest = hashlib.sha256(content).hexdigest()
    if "norm" in state and "block1.projection.weight" in state:
        layers = _read_layers(state, _CONTROLNET, path)
        mean = _adapt_controlnet(layers, state["norm"], path)
        check_layers(layers, path)
        return Weights("controlnet", digest, None, layers, mean=mean)
    # Older files say moduleVggOne where newer ones say netVggOne.
    state = {_replace_start(key, "module", "net"): value for key, value in state.items()}
    if not any(f"{key}.weight" in state for key in _NIKLAUS.values()):
        raise InputError(
            f"HED weights {path} name their layers in none of the known ways. Choose "
            "network-bsds500.pytorch, ControlNetHED.pth, or a state_dict with either's names."
        )
    layers = _read_layers(state, _NIKLAUS, path)
    check_layers(layers, path)
    return Weights("pytorch", digest, AUTHORS_THRESHOLD, layers)


def _check_archive(content: bytes, path: Path) -> None:
    """Refuse archives that unfold: PyTorch stores its members as they are."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _damaged(path) from error
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if packed or sum(member.file_size for member in members) > len(content):
        raise InputError(
            f"HED weights {path} are a compressed archive, which PyTorch does not write. "
            "Unpack it and give the file within."
        )


def _load(content: bytes, path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            # What it warns of, such as a pickle's protocol, either fails here or does not matter.
            warnings.simplefilter("ignore")
            # weights_only: tensors and plain containers; a pickle with anything else is refused
            # before any of it runs.
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # What a damaged pickle makes its reader raise knows no bounds.
    except Exception as error:
        raise _damaged(path) from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise InputError(
            f"HED weights {path} hold a {type(loaded).__name__}, no state_dict. "
            "Save the network's state_dict()."
        )
    return {key: value for key, value in loaded.items() if isinstance(key, str)}


def _damaged(path: Path) -> InputError:
    return InputError(
        f"HED weights {path} cannot be read as PyTorch weights: the file is damaged, cut short, or "
        "holds more than tensors, which could run code. Fetch it again, or save a state_dict()."
    )


def _read_layers(state: Mapping[str, Any], keys: Mapping[str, str], path: Path) -> dict[str, Layer]:
    layers = {}
    for name, key in keys.items():
        kernel, bias = state.get(f"{key}.weight"), state.get(f"{key}.bias")
        if kernel is not None and bias is not None:
            for part, values in enumerate((kernel, bias)):
                _check_tensor(values, name, path)
                check_shape(name, part, values.shape, path)
            layers[name] = _copy(kernel), _copy(bias)
    return layers


def _adapt_controlnet(layers: dict[str, Layer], norm: Any, path: Path) -> Mean:
    """Turn ControlNet's network, in place, into ours; return what it subtracts, as BGR.

    It takes RGB, and its edges are the sigmoid of its five sides' mean.
    """
    _check_tensor(norm, "norm", path)
    if norm.shape != (1, 3, 1, 1) or not norm.isfinite().all():
        raise InputError(
            f"HED weights {path}: norm is not the three finite numbers, 1×3×1×1, of "
            "ControlNetHED.pth. Fetch that file again."
        )
    if "conv1_1" in layers:
        kernel, bias = layers["conv1_1"]
        layers["conv1_1"] = np.ascontiguousarray(kernel[:, ::-1]), bias
    fifth = np.full((1, len(SIDES), 1, 1), 1 / len(SIDES), np.float32)
    layers["fuse"] = fifth, np.zeros(1, np.float32)
    red, green, blue = norm.flatten().tolist()
    return blue, green, red


def _check_tensor(values: Any, name: str, path: Path) -> None:
    plain = isinstance(values, torch.Tensor) and values.layout is torch.strided
    if not plain or not values.is_floating_point() or values.device.type != "cpu":
        raise InputError(
            f"HED weights {path}: {name} is no plain tensor of floating-point numbers. "
            "Save the network's state_dict() in single precision."
        )


def _copy(values: torch.Tensor) -> NDArray[np.float32]:
    # ControlNetHED.pth is in half precision.
    return np.array(values.detach().to(torch.float32).numpy())


def _replace_start(key: str, old: str, new: str) -> str:
    return new + key.removeprefix(old) if key.startswith(old) else key
