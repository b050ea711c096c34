"""What runs the generators: one module for each way."""

import importlib.util
from collections.abc import Callable
from typing import get_args

from torch import cuda

from config.errors import InputError
from serving.engines.engine import Array, GenerateFn, GeneratorEngine, GeneratorEngineOptions
from serving.settings import EngineName

__all__ = ["Array", "GenerateFn", "GeneratorEngine", "GeneratorEngineOptions", "choose_engine", "create_engine"]


def choose_engine(name: str) -> tuple[str, str]:
    """Return the engine to use and why, in a few words.

    Parameters
    ----------
    name : ``auto``, or an engine, which is then taken.

    Raises
    ------
    InputError
        If there is no engine of that name, or what it needs is not installed.
    """
    if name not in get_args(EngineName):
        names = ", ".join(get_args(EngineName))
        raise InputError(f"No engine {name!r} to serve with. Choose one of: {names}.")
    installed = importlib.util.find_spec("openvino") is not None
    if name == "auto":
        if cuda.is_available():
            return "torch", f"there is a GPU, {cuda.get_device_name()}"
        if installed:
            return "openvino", "there is no GPU, and OpenVINO is installed"
        return "onnxruntime", "there is no GPU, and OpenVINO is not installed"
    if name == "openvino" and not installed:
        raise InputError(
            "The engine openvino is not installed. Run `pip install -c constraints.txt -e "
            "'.[openvino]'` in the checkout's environment, or use --engine onnxruntime."
        )
    return name, "as set"


def create_engine(name: str, options: GeneratorEngineOptions) -> GeneratorEngine:
    """Return an engine.

    Parameters
    ----------
    name : see ``choose_engine``.
    options : how many drawings at once, and how exactly.

    Raises
    ------
    InputError
        If there is no such engine, or it is not installed.
    """
    name, _ = choose_engine(name)
    return _import_factory(name)(options)


def _import_factory(name: str) -> Callable[[GeneratorEngineOptions], GeneratorEngine]:
    # Each is imported when it is used: OpenVINO may not be there, and takes a second.
    if name == "openvino":
        from serving.engines.openvino import create
    elif name == "torch":
        from serving.engines.torch import create
    else:
        from serving.engines.onnx import create
    return create
