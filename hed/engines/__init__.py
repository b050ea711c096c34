"""What runs the network: one small class, one module for each way to run a network."""

import importlib.util
import os
from collections.abc import Callable
from typing import Literal, get_args

from torch import cuda

from errors import InputError
from hed.engines.engine import Engine, Options, Runner
from hed.weights import Weights

__all__ = ["Engine", "Runner", "choose_engine", "create_engine"]

Precision = Literal["auto", "f32"]
EngineName = Literal["auto", "opencv", "openvino", "torch"]

_EXTRAS = {"openvino": "openvino"}


def choose_engine(name: str, weights: Weights | None = None) -> tuple[str, str]:
    """Return the engine to use and why, in a few words.

    Parameters
    ----------
    name : ``auto``, or an engine, which is then taken.
    weights : what it is to run, where known: PyTorch takes HED's layers only, no ONNX file.

    Raises
    ------
    InputError
        If there is no engine of that name, or what it needs is not installed.
    """
    if name not in get_args(EngineName):
        names = ", ".join(get_args(EngineName))
        raise InputError(f"No HED engine {name!r}. Choose one of: {names}.")
    if name == "auto":
        if cuda.is_available() and (weights is None or weights.layers is not None):
            return "torch", f"there is a GPU, {cuda.get_device_name()}"
        if _is_installed("openvino"):
            return "openvino", "no GPU, and OpenVINO is installed"
        return "opencv", "neither a GPU nor OpenVINO is there"
    if name in _EXTRAS and not _is_installed(_EXTRAS[name]):
        raise InputError(
            f"The engine {name} is not installed. Run `pip install -e '.[{name}]'` in the "
            "checkout's environment, or use --engine opencv."
        )
    return name, "as set"


def create_engine(
    name: str, weights: Weights, workers: int | None = None, precision: str = "auto"
) -> Engine:
    """Return a running engine with these weights.

    Parameters
    ----------
    name : see ``choose_engine``.
    weights : what to run.
    workers : networks that run at once on the CPU, the cores shared out among them; as many as
        there are cores, at most 8, when None. OpenVINO decides for itself.
    precision : ``f32``, or ``auto`` for the quickest that the device does well: 16 bits on a GPU
        and, in OpenVINO, on a CPU with bfloat16.

    Raises
    ------
    InputError
        If there is no such engine or precision, it is not installed, or it cannot run these
        weights.
    """
    name, _ = choose_engine(name, weights)
    if precision not in get_args(Precision):
        raise InputError(f"No precision {precision!r}. Choose auto or f32.")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return _maker(name)(weights, Options(cores or 1, workers, precision == "auto"))


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
