"""Types that all engines share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Maps a condition, float32 (1, S, S) in [0, 1], to a picture, float32 (3, S, S) in [-1, 1].
# Thread-safe.
GenerateFn = Callable[[Array], Array]


@dataclass(frozen=True)
class GeneratorEngineOptions:
    """Options of an engine.

    Attributes
    ----------
    cores : int
        CPU cores that the process may use.
    workers : int or None
        Drawings that run concurrently; None for the engine's default.
    max_batch_size : int
        Largest batch on a GPU.
    allow_bf16 : bool
        Whether to compute in bfloat16 if the device supports it; else in float32.
    on_batch : callable
        Called with the size of every batch that PyTorch runs.
    """

    cores: int
    workers: int | None = None
    max_batch_size: int = 8
    allow_bf16: bool = True
    on_batch: Callable[[int], None] = lambda _count: None


@dataclass(frozen=True)
class GeneratorEngine:
    """A backend that runs generators.

    Attributes
    ----------
    description : str
        Name, version, precision and concurrency, for logs.
    workers : int
        Concurrent drawings that keep the device busy.
    weights_format : str
        File of an export that ``load`` reads: ``safetensors`` or ``onnx``.
    load : callable
        Loads a generator from that file's bytes, for pictures of the given side in pixels. Raises
        ``IntegrityError`` if the file cannot be loaded.
    """

    description: str
    workers: int
    weights_format: Literal["safetensors", "onnx"]
    load: Callable[[bytes, int], GenerateFn]
