"""Dynamic batching: drawings of several threads run as one batch."""

import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from serving.engines.engine import Array

# Maps conditions, float32 (N, 1, S, S), to pictures, float32 (N, 3, S, S).
GenerateBatchFn = Callable[[Array], Array]


class _BatchItem:
    """A condition that waits for its batch, and its picture or error."""

    def __init__(self, condition: Array) -> None:
        self.condition = condition
        self.picture: Array | None = None
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.picture is not None or self.error is not None


class Batcher:
    """Runs the calls of several threads in batches. Any thread may call it.

    A call never waits for a batch to fill: while one batch runs, the next calls queue up, and the
    first thread that gets the lock runs all of them, up to the limit, as the next batch. So an idle
    device responds immediately, and a busy one runs full batches. There is no background thread.

    Parameters
    ----------
    run_batch : GenerateBatchFn
        Runs one batch; called by one thread at a time.
    max_batch_size : int
        Largest number of conditions in one batch.
    on_batch : callable
        Called with the size of every batch.
    """

    def __init__(
        self, run_batch: GenerateBatchFn, max_batch_size: int, on_batch: Callable[[int], None]
    ) -> None:
        self._run_batch, self._max_batch_size, self._on_batch = run_batch, max_batch_size, on_batch
        self._pending: deque[_BatchItem] = deque()
        self._lock = threading.Lock()

    def __call__(self, condition: Array) -> Array:
        """Return the picture of a condition.

        Parameters
        ----------
        condition : ndarray
            float32 (1, S, S) in [0, 1].

        Returns
        -------
        ndarray
            float32 (3, S, S) in [-1, 1].

        Raises
        ------
        Exception
            Whatever ``run_batch`` raised for the batch.
        """
        item = _BatchItem(condition)
        self._pending.append(item)
        with self._lock:
            while not item.done:
                self._run_next_batch()
        if item.error is not None:
            raise item.error
        assert item.picture is not None
        return item.picture

    def _run_next_batch(self) -> None:
        """Run the first batch of the pending items. The caller holds the lock."""
        count = min(self._max_batch_size, len(self._pending))
        batch = [self._pending.popleft() for _ in range(count)]
        self._on_batch(count)
        try:
            pictures = self._run_batch(np.stack([item.condition for item in batch]))
        except Exception as error:
            for item in batch:
                item.error = error
        else:
            for item, picture in zip(batch, pictures, strict=True):
                item.picture = picture
