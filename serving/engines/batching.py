"""Drawings of several threads as one batch."""

import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from serving.engines.engine import Array

# Maps (N, 1, S, S) to (N, 3, S, S).
GenerateBatchFn = Callable[[Array], Array]


class _BatchItem:
    """A drawing in the queue, and what came of it."""

    def __init__(self, condition: Array) -> None:
        self.condition = condition
        self.picture: Array | None = None
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.picture is not None or self.error is not None


class Batcher:
    """Runs what several threads ask for together; may be called from any thread.

    Nobody waits for a batch to fill: one that computes leaves time for the next to gather, and
    the first thread to have its turn runs all that wait. So an idle device answers at once, and
    a busy one in full batches. It has no thread of its own.

    Parameters
    ----------
    run : what runs a batch, one at a time.
    most : drawings in one.
    seen : is told the size of every batch.
    """

    def __init__(self, run_batch: GenerateBatchFn, max_batch_size: int, on_batch: Callable[[int], None]) -> None:
        self._run_batch, self._max_batch_size, self._on_batch = run_batch, max_batch_size, on_batch
        self._pending: deque[_BatchItem] = deque()
        self._lock = threading.Lock()

    def __call__(self, condition: Array) -> Array:
        """Return the picture, float32 (3, S, S), of a condition, float32 (1, S, S)."""
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
        """Run the first of what waits; whoever calls has the turn, and so alone takes away."""
        count = min(self._max_batch_size, len(self._pending))
        batch = [self._pending.popleft() for _ in range(count)]
        self._on_batch(count)
        try:
            pictures = self._run_batch(np.stack([place.condition for place in batch]))
        except Exception as error:
            for place in batch:
                place.error = error
        else:
            for place, picture in zip(batch, pictures, strict=True):
                place.picture = picture
