"""What a run is computed on, how exactly, and whether it is compiled first."""

import os
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import torch

from config.errors import InputError
from config.recipe import Recipe

# Steps that save more time than compiling takes; on a GPU a step is short.
_MIN_COMPILE_STEPS = {"cpu": 500, "cuda": 5_000}
_MIN_COMPILE_WIDTH = 32


def choose_device() -> torch.device:
    """Return the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(recipe: Recipe, device: torch.device) -> Recipe:
    """Return the recipe with the precision that ``auto`` stands for on a device."""
    if recipe.precision != "auto":
        return recipe
    return recipe.model_copy(update={"precision": "bf16" if supports_bf16(device) else "f32"})


def supports_bf16(device: torch.device) -> bool:
    """Tell whether a device multiplies bf16 natively; one that does not takes many times as long.

    Of CPUs these are those with AVX-512 BF16 or AMX.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def should_compile(recipe: Recipe, device: torch.device, num_steps: int) -> bool:
    """Tell whether the networks of a run of so many steps are compiled first.

    Raises
    ------
    InputError
        If they are to be, but nothing is there to do it.
    """
    if recipe.compile == "off":
        return False
    missing = list_missing_compile_tools(device)
    if recipe.compile == "on":
        if missing:
            raise InputError(
                f"compile=on needs {' and '.join(missing)}. Install that, or set compile=off."
            )
        return True
    # Compiled f32 convolutions were slower than PyTorch's own (docs/decisions.md).
    is_faster = device.type == "cuda" or recipe.precision == "bf16"
    width = min(recipe.generator_width, recipe.discriminator_width)
    return (
        not missing
        and is_faster
        and num_steps >= _MIN_COMPILE_STEPS[device.type]
        and width >= _MIN_COMPILE_WIDTH
    )


def list_missing_compile_tools(device: torch.device) -> list[str]:
    """Return what PyTorch compiles with on a device and is not there, as a person calls it.

    PyTorch itself asks for it in the first step.
    """
    missing = []
    compilers: tuple[str, ...]
    if device.type == "cuda":
        if find_spec("triton") is None:
            missing.append("Triton (pip install triton)")
        c_compiler, description = os.environ.get("CC"), "a C compiler (gcc)"
        compilers = (c_compiler,) if c_compiler else ("gcc", "clang")
    else:
        compilers, description = (os.environ.get("CXX", "g++"),), "a C++ compiler (g++)"
    if not any(shutil.which(name) for name in compilers):
        missing.append(description)
    if not Path(sysconfig.get_path("include", "posix_prefix"), "Python.h").is_file():
        missing.append("Python's headers (python3-dev)")
    return missing
