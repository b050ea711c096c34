"""Networks that run at once, and a queue of batches before them."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hed.crop_plan import Plan

Map = NDArray[np.float32]

# Maps float32 (N, 3, rows.input, columns.input) to float32 (N, rows.side, columns.side).
Runner = Callable[[Map], Map]

# Runners a thread keeps: the pictures of a data set have one size, or a few (contain).
_KEPT = 8


@dataclass(frozen=True)
class Options:
    """What an engine is made with.

    Attributes
    ----------
    cores : how many the process may use.
    workers : networks at once on the CPU; None leaves it to the engine.
    fast : 16 bits where the device computes in them.
    """

    cores: int
    workers: int | None = None
    fast: bool = True


class Engine:
    """Runs batches in threads, each with its own network; may be shared between threads.

    Networks are made for one input size and are not thread-safe, so every thread keeps its own,
    one for each of the last few sizes. All the libraries release the interpreter's lock while
    they compute.

    Attributes
    ----------
    title : what it is, for a person.
    batch : pictures to submit at once.
    in_flight : batches to keep submitted so that no network waits.
    """

    def __init__(
        self, title: str, make_runner: Callable[[Plan], Runner], workers: int, batch: int = 1
    ) -> None:
        self.title = title
        self.batch = batch
        # One for each to run, one for each to take next.
        self.in_flight = 2 * workers
        self._make_runner = make_runner
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="hed")
        self._local = threading.local()

    def submit(self, batch: Map, plan: Plan) -> Future[Map]:
        """Queue a batch.

        Parameters
        ----------
        batch : float32 (N, 3, plan.rows.input, plan.columns.input), BGR minus the mean.
        plan : the pictures' size.

        Returns
        -------
        Future
            Of probabilities in [0, 1], float32 (N, plan.rows.side, plan.columns.side).
        """
        return self._threads.submit(self._run, batch, plan)

    def _run(self, batch: Map, plan: Plan) -> Map:
        runners: dict[Plan, Runner] = self._local.__dict__.setdefault("runners", {})
        run = runners.pop(plan, None)
        if run is None:
            while len(runners) >= _KEPT:
                del runners[next(iter(runners))]
            run = self._make_runner(plan)
        runners[plan] = run
        return run(batch)
