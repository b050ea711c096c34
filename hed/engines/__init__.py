"""What runs the network: one small class, one module for each way to run a network."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import cv2

from config.errors import InputError
from config.settings import count_cores
from hed.engines.engine import Engine, Options, Runner
from hed.weights import Weights

__all__ = ["Engine", "Runner", "choose_engine", "create_engine"]

Precision = Literal["auto", "f32"]
EngineName = Literal["auto", "opencv", "openvino", "torch"]

# Where the drivers of NVIDIA, of AMD, and of Windows below Linux show that there is a GPU.
_DEVICES = ("nvidia*", "nvhost*", "nvgpu*", "kfd", "dxg")


def choose_engine(name: str, weights: Weights | None = None) -> tuple[str, str]:
    """Return the engine to use and why, in a few words.

    Parameters
    ----------
    name : ``auto``, or an engine, which is then taken.
    weights : what it is to run, where known: PyTorch takes HED's layers only, no ONNX file.

    Raises
    ------
    InputError
        If there is no engine of that name, what it needs is not installed, or it does not run
        these weights.
    """
    if name not in get_args(EngineName):
        names = ", ".join(get_args(EngineName))
        raise InputError(f"No HED engine {name!r}. Choose one of: {names}.")
    if name == "auto":
        gpu, own = _find_gpu(), weights is not None and weights.layers is None
        if gpu and not own:
            return "torch", f"there is a GPU, {gpu}"
        without = "PyTorch runs no ONNX file" if gpu else "there is no GPU"
        if _is_installed("openvino"):
            return "openvino", f"{without}, and OpenVINO is installed"
        return "opencv", f"{without}, and OpenVINO is not installed"
    if name == "torch" and weights is not None and weights.layers is None:
        raise InputError(
            "The engine torch runs HED's own layers, no ONNX file: use --engine opencv or openvino."
        )
    if name == "openvino" and not _is_installed("openvino"):
        raise InputError(
            "The engine openvino is not installed. Run `pip install -c constraints.txt -e "
            "'.[openvino]'` in the checkout's environment, or use --engine opencv."
        )
    return name, "as set"


def create_engine(
    name: str,
    weights: Weights,
    workers: int | None = None,
    precision: str = "auto",
    cores: int | None = None,
) -> Engine:
    """Return a running engine with these weights.

    Parameters
    ----------
    name : see ``choose_engine``.
    weights : what to run.
    workers : networks that run at once on the CPU, the cores shared out among them; with OpenCV as
        many as there are cores when None, and OpenVINO decides for itself.
    precision : ``f32``, or ``auto`` for the quickest that the device does well: 16 bits on a GPU
        and, in OpenVINO, on a CPU with bfloat16.
    cores : how many it may use; all that this process may when None.

    Raises
    ------
    InputError
        If there is no such engine or precision, it is not installed, or it cannot run these
        weights.
    """
    name, _ = choose_engine(name, weights)
    # What comes before and after the network runs in threads of its own; OpenCV's engine sets this
    # for itself.
    cv2.setNumThreads(1)
    if precision not in get_args(Precision):
        raise InputError(f"No precision {precision!r}. Choose auto or f32.")
    return _maker(name)(weights, Options(cores or count_cores(), workers, precision == "auto"))


def _find_gpu() -> str | None:
    """Return the name of the GPU that PyTorch uses; None where it has none."""
    # PyTorch takes seconds to import: where there is no device it is not asked.
    if sys.platform == "linux" and not any(any(Path("/dev").glob(name)) for name in _DEVICES):
        return None
    from torch import cuda

    return cuda.get_device_name() if cuda.is_available() else None


def _maker(name: str) -> Callable[[Weights, Options], Engine]:
    # Each is imported when it is used: OpenVINO may not be there, and takes a second.
    if name == "openvino":
        from hed.engines.openvino import create
    elif name == "torch":
        from hed.engines.torch import create
    else:
        from hed.engines.opencv import create
    return create


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
