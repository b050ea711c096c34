"""What every way to run a generator looks like."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Maps a condition, float32 (1, S, S) in [0, 1], to a picture, float32 (3, S, S) in [-1, 1]. Any
# thread may call it.
Draw = Callable[[Array], Array]


@dataclass(frozen=True)
class Options:
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
    batch: int = 8
    fast: bool = True
    seen: Callable[[int], None] = lambda _count: None


@dataclass(frozen=True)
class Engine:
    """A way to run generators.

    Attributes
    ----------
    title : what it is, for a person.
    workers : drawings at once that keep it busy.
    takes : which file of an export it reads: ``weights`` (safetensors) or ``network`` (ONNX).
    load : makes a generator of that file's bytes and a side in pixels.
    """

    title: str
    workers: int
    takes: Literal["weights", "network"]
    load: Callable[[bytes, int], Draw]
