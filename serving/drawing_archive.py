"""Drawings in the store, where a setting asks for them."""

import logging
import threading
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from queue import Full, Queue

from storage import ObjectStore, keys

log = logging.getLogger("icanvas.serving")

# Drawings that wait for the store; what comes then is not kept.
_MAX_PENDING = 200


class DrawingArchive:
    """Writes drawings and pictures in a thread of its own, so that nobody waits for the store.

    What is kept is what the generator was given and what it made of it, under a random name below
    the day: nothing tells who drew it.

    Parameters
    ----------
    store : where they go.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._queue: Queue[tuple[str, bytes, bytes] | None] = Queue(_MAX_PENDING)
        self._thread = threading.Thread(target=self._run, name="keep", daemon=True)
        self._thread.start()

    def enqueue(self, model: str, drawing: bytes, picture: bytes) -> None:
        """Keep a drawing (PNG) and its picture (PNG), unless too many wait."""
        try:
            self._queue.put_nowait((model, drawing, picture))
        except Full:
            log.warning("a drawing is not kept: the store is too slow")

    def close(self, timeout: float = 60) -> None:
        """Return when all that was offered is kept, or after so many seconds."""
        with suppress(Full):
            self._queue.put(None, timeout=timeout)
            self._thread.join(timeout)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            model, drawing, picture = item
            day, name = f"{datetime.now(UTC):%Y-%m-%d}", uuid.uuid4().hex
            try:
                for kind, data in (("drawing", drawing), ("picture", picture)):
                    self._store.put(keys.archived_drawing(model, day, f"{name}-{kind}"), data)
            # Whatever it is, the next one may be kept.
            except Exception as error:
                log.warning("a drawing is not kept: %s", error)
