"""Drawings of several threads as one batch."""

import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from serving.engines.engine import Array

# Maps (N, 1, S, S) to (N, 3, S, S).
DrawBatch = Callable[[Array], Array]


class _Place:
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

    def __init__(self, run: DrawBatch, most: int, seen: Callable[[int], None]) -> None:
        self._run, self._most, self._seen = run, most, seen
        self._waiting: deque[_Place] = deque()
        self._turn = threading.Lock()

    def __call__(self, condition: Array) -> Array:
        """Return the picture, float32 (3, S, S), of a condition, float32 (1, S, S)."""
        place = _Place(condition)
        self._waiting.append(place)
        with self._turn:
            while not place.done:
                self._run_waiting()
        if place.error is not None:
            raise place.error
        assert place.picture is not None
        return place.picture

    def _run_waiting(self) -> None:
        """Run the first of what waits; whoever calls has the turn, and so alone takes away."""
        count = min(self._most, len(self._waiting))
        batch = [self._waiting.popleft() for _ in range(count)]
        self._seen(count)
        try:
            pictures = self._run(np.stack([place.condition for place in batch]))
        except Exception as error:
            for place in batch:
                place.error = error
        else:
            for place, picture in zip(batch, pictures, strict=True):
                place.picture = picture
