"""What every way to run a generator looks like."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Maps a condition, float32 (1, S, S) in [0, 1], to a picture, float32 (3, S, S) in [-1, 1]. Any
# thread may call it.
GenerateFn = Callable[[Array], Array]


@dataclass(frozen=True)
class GeneratorEngineOptions:
    """What an engine is made with.

    Attributes
    ----------
    cores : that the process may use.
    workers : drawings at once; None leaves it to the engine.
    batch : drawings that a GPU takes at once.
    fast : 16 bits where the device computes in them.
    seen : is told how many drawings a batch on a GPU had.
    """

    cores: int
    workers: int | None = None
    max_batch_size: int = 8
    allow_bf16: bool = True
    on_batch: Callable[[int], None] = lambda _count: None


@dataclass(frozen=True)
class GeneratorEngine:
    """A way to run generators.

    Attributes
    ----------
    title : what it is, for a person.
    workers : drawings at once that keep it busy.
    takes : which file of an export it reads: ``weights`` (safetensors) or ``network`` (ONNX).
    load : makes a generator of that file's bytes and a side in pixels.
    """

    description: str
    workers: int
    weights_format: Literal["weights", "network"]
    load: Callable[[bytes, int], GenerateFn]
