"""Engines that run generators: OpenVINO, ONNX Runtime and PyTorch, one module each."""

import importlib.util
from collections.abc import Callable
from typing import get_args

from torch import cuda

from config.errors import InputError
from serving.engines.engine import Array, GenerateFn, GeneratorEngine, GeneratorEngineOptions
from serving.settings import EngineName

__all__ = [
    "Array",
    "GenerateFn",
    "GeneratorEngine",
    "GeneratorEngineOptions",
    "choose_engine",
    "create_engine",
]


def choose_engine(name: str) -> tuple[str, str]:
    """Choose the engine to use.

    Parameters
    ----------
    name : str
        The engine's name, or ``auto``: PyTorch on a GPU, else OpenVINO if it is installed, else
        ONNX Runtime.

    Returns
    -------
    tuple of str
        Name of the engine, and the reason in a few words.

    Raises
    ------
    InputError
        If there is no such engine, or it is not installed.
    """
    if name not in get_args(EngineName):
        names = ", ".join(get_args(EngineName))
        raise InputError(f"There is no engine {name!r}. Choose one of: {names}.")
    installed = importlib.util.find_spec("openvino") is not None
    if name == "auto":
        if cuda.is_available():
            return "torch", f"found a GPU, {cuda.get_device_name()}"
        if installed:
            return "openvino", "no GPU, and OpenVINO is installed"
        return "onnxruntime", "no GPU, and OpenVINO is not installed"
    if name == "openvino" and not installed:
        raise InputError(
            "The engine openvino is not installed. Run `pip install -c constraints.txt -e "
            "'.[openvino]'` in the checkout's environment, or use --engine onnxruntime."
        )
    return name, "as configured"


def create_engine(name: str, options: GeneratorEngineOptions) -> GeneratorEngine:
    """Return an engine.

    Parameters
    ----------
    name : str
        Name of the engine, or ``auto``; see ``choose_engine``.
    options : GeneratorEngineOptions
        Concurrency and precision.

    Raises
    ------
    InputError
        If there is no such engine, or it is not installed.
    """
    name, _ = choose_engine(name)
    return _import_factory(name)(options)


def _import_factory(name: str) -> Callable[[GeneratorEngineOptions], GeneratorEngine]:
    # Imported on use: OpenVINO is optional, and takes a second to import.
    if name == "openvino":
        from serving.engines.openvino import create
    elif name == "torch":
        from serving.engines.torch import create
    else:
        from serving.engines.onnx import create
    return create
