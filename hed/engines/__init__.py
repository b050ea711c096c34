"""Inference engines for HED: OpenCV, OpenVINO and PyTorch, one module each."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import cv2

from config.errors import InputError
from config.settings import count_cores
from hed.engines.engine import BatchRunner, HedEngine, HedEngineOptions
from hed.weights import HedWeights

__all__ = ["BatchRunner", "HedEngine", "choose_engine", "create_engine"]

Precision = Literal["auto", "f32"]
EngineName = Literal["auto", "opencv", "openvino", "torch"]

# Device files by which the drivers of NVIDIA, AMD and Windows Subsystem for Linux expose a GPU.
_GPU_DEVICE_PATTERNS = ("nvidia*", "nvhost*", "nvgpu*", "kfd", "dxg")


def choose_engine(name: str, weights: HedWeights | None = None) -> tuple[str, str]:
    """Return the name of the engine to use and the reason for the choice.

    Parameters
    ----------
    name : str
        ``auto``, ``opencv``, ``openvino`` or ``torch``. Any name but ``auto`` is used as it is.
    weights : HedWeights or None
        The weights to run, if known: PyTorch runs HED's layers only, not ONNX networks.

    Returns
    -------
    name, reason : str, str
        The engine's name and a short explanation for people.

    Raises
    ------
    InputError
        If the engine is unknown, is not installed, or cannot run these weights.
    """
    if name not in get_args(EngineName):
        names = ", ".join(get_args(EngineName))
        raise InputError(f"Unknown HED engine {name!r}. Choose one of: {names}.")
    if name == "auto":
        gpu, is_onnx = _get_gpu_name(), weights is not None and weights.layers is None
        if gpu and not is_onnx:
            return "torch", f"there is a GPU, {gpu}"
        no_gpu_reason = "PyTorch does not run ONNX networks" if gpu else "there is no GPU"
        if _is_installed("openvino"):
            return "openvino", f"{no_gpu_reason}, and OpenVINO is installed"
        return "opencv", f"{no_gpu_reason}, and OpenVINO is not installed"
    if name == "torch" and weights is not None and weights.layers is None:
        raise InputError(
            "The engine torch runs only HED's own layers, not ONNX networks. Use --engine opencv "
            "or openvino."
        )
    if name == "openvino" and not _is_installed("openvino"):
        raise InputError(
            "The engine openvino is not installed. Run `pip install -c constraints.txt -e "
            "'.[openvino]'` in the checkout's environment, or use --engine opencv."
        )
    return name, "as set"


def create_engine(
    name: str,
    weights: HedWeights,
    workers: int | None = None,
    precision: str = "auto",
    cores: int | None = None,
) -> HedEngine:
    """Start an engine with the given weights.

    Parameters
    ----------
    name : str
        See ``choose_engine``.
    weights : HedWeights
        The network to run.
    workers : int or None
        Number of networks that run at the same time on the CPU; they share its cores. None: one
        per core with OpenCV; OpenVINO chooses the number itself.
    precision : {"auto", "f32"}
        ``auto`` uses 16 bits on a GPU and, with OpenVINO, on a CPU that supports bfloat16.
    cores : int or None
        Number of CPU cores to use; None for all that this process may use.

    Returns
    -------
    HedEngine

    Raises
    ------
    InputError
        If the engine or the precision is unknown, the engine is not installed, or it cannot run
        these weights.
    """
    name, _ = choose_engine(name, weights)
    # Pre- and postprocessing run in the caller's own threads, so OpenCV needs no pool. The OpenCV
    # engine overrides this.
    cv2.setNumThreads(1)
    if precision not in get_args(Precision):
        raise InputError(f"Unknown precision {precision!r}. Choose auto or f32.")
    return _load_factory(name)(
        weights, HedEngineOptions(cores or count_cores(), workers, precision == "auto")
    )


def _get_gpu_name() -> str | None:
    """Return the name of PyTorch's GPU, or None if there is none."""
    # PyTorch takes seconds to import: skip it on machines without a GPU device.
    if sys.platform == "linux" and not any(
        any(Path("/dev").glob(name)) for name in _GPU_DEVICE_PATTERNS
    ):
        return None
    from torch import cuda

    return cuda.get_device_name() if cuda.is_available() else None


def _load_factory(name: str) -> Callable[[HedWeights, HedEngineOptions], HedEngine]:
    # Imported on demand: OpenVINO may be missing, and takes a second to import.
    if name == "openvino":
        from hed.engines.openvino import create
    elif name == "torch":
        from hed.engines.torch import create
    else:
        from hed.engines.opencv import create
    return create


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
