"""The device of a run, its precision, and whether the networks are compiled."""

import os
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import torch

from config.errors import InputError
from config.recipe import Recipe

# Fewer steps save less time than compilation takes.
_MIN_COMPILE_STEPS = {"cpu": 500, "cuda": 5_000}
_MIN_COMPILE_WIDTH = 32


def choose_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(recipe: Recipe, device: torch.device) -> Recipe:
    """Replace the precision ``auto``.

    Parameters
    ----------
    recipe : Recipe
        With any precision.
    device : torch.device
        Where the run is trained.

    Returns
    -------
    Recipe
        With precision ``bf16`` or ``f32``.
    """
    if recipe.precision != "auto":
        return recipe
    return recipe.model_copy(update={"precision": "bf16" if supports_bf16(device) else "f32"})


def supports_bf16(device: torch.device) -> bool:
    """Return whether a device multiplies bf16 natively; emulation is many times slower.

    CPUs need AVX-512 BF16 or AMX.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def should_compile(recipe: Recipe, device: torch.device, num_steps: int) -> bool:
    """Return whether to compile the networks of a run.

    Parameters
    ----------
    recipe : Recipe
        With a resolved precision.
    device : torch.device
        Where the run is trained.
    num_steps : int
        Steps of the whole run; ``compile=auto`` compiles long runs only.

    Returns
    -------
    bool

    Raises
    ------
    InputError
        If the recipe has ``compile=on`` and a tool that compiling needs is missing.
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
    # On CPUs, compiled f32 convolutions were slower than PyTorch's own (docs/decisions.md).
    is_faster = device.type == "cuda" or recipe.precision == "bf16"
    width = min(recipe.generator_width, recipe.discriminator_width)
    return (
        not missing
        and is_faster
        and num_steps >= _MIN_COMPILE_STEPS[device.type]
        and width >= _MIN_COMPILE_WIDTH
    )


def list_missing_compile_tools(device: torch.device) -> list[str]:
    """List the tools that ``torch.compile`` needs on a device and that are not installed.

    PyTorch itself would fail in the first step only.

    Returns
    -------
    list of str
        Names for a message, such as ``a C compiler (gcc)``.
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
