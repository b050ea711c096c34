"""Thread pool that runs HED networks on batches of pictures."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hed.crop_plan import CropPlan

Float32Array = NDArray[np.float32]

# Maps float32 (N, 3, rows.input_size, columns.input_size) to float32 (N, rows.output_size,
# columns.output_size).
BatchRunner = Callable[[Float32Array], Float32Array]

# Per thread. The pictures of a data set have one size, or a few (fit mode "contain").
_MAX_CACHED_RUNNERS = 8


@dataclass(frozen=True)
class HedEngineOptions:
    """Options for creating an engine.

    Attributes
    ----------
    cores : int
        Number of CPU cores that the engine may use.
    workers : int or None
        Number of networks that run at the same time on the CPU; None lets the engine choose.
    reduced_precision : bool
        Compute in 16 bits where the device supports it.
    """

    cores: int
    workers: int | None = None
    reduced_precision: bool = True


class HedEngine:
    """Runs batches in worker threads, each with its own network. Safe to share between threads.

    A network is built for one input size and is not thread-safe. Each thread therefore caches its
    own networks, one for each of the most recent sizes. All supported libraries release the GIL
    during inference.

    Attributes
    ----------
    description : str
        Library, version, precision and parallelism, for people.
    batch_size : int
        Number of pictures per batch.
    max_in_flight : int
        Number of submitted batches at which no network is idle.
    """

    def __init__(
        self,
        description: str,
        make_runner: Callable[[CropPlan], BatchRunner],
        workers: int,
        batch_size: int = 1,
    ) -> None:
        self.description = description
        self.batch_size = batch_size
        # One batch per worker to run, and one to start next.
        self.max_in_flight = 2 * workers
        self._make_runner = make_runner
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="hed")
        self._local = threading.local()

    def submit(self, batch: Float32Array, plan: CropPlan) -> Future[Float32Array]:
        """Queue a batch.

        Parameters
        ----------
        batch : ndarray, float32, (N, 3, plan.rows.input_size, plan.columns.input_size)
            Pictures in BGR, minus the weights' mean.
        plan : CropPlan
            Crop plan for the size of these pictures.

        Returns
        -------
        Future of ndarray
            Probabilities in [0, 1], float32 (N, plan.rows.output_size, plan.columns.output_size).
        """
        return self._executor.submit(self._run, batch, plan)

    def _run(self, batch: Float32Array, plan: CropPlan) -> Float32Array:
        runners: dict[CropPlan, BatchRunner] = self._local.__dict__.setdefault("runners", {})
        run = runners.pop(plan, None)
        if run is None:
            while len(runners) >= _MAX_CACHED_RUNNERS:
                del runners[next(iter(runners))]
            run = self._make_runner(plan)
        runners[plan] = run
        return run(batch)
