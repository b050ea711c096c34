"""Storing of drawings and their pictures in the object store."""

import logging
import threading
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from queue import Full, Queue

from storage import ObjectStore, keys

log = logging.getLogger("icanvas.serving")

# Drawings that wait for the upload; further ones are dropped.
_MAX_PENDING = 200


class DrawingArchive:
    """Uploads drawings and pictures in a background thread, so that requests never wait for it.

    Stored are the generator's input and output, as
    ``drawings/MODEL/YYYY-MM-DD/RANDOM-drawing.png`` and ``-picture.png``. Nothing that identifies
    the client is stored.

    Parameters
    ----------
    store : ObjectStore
        Where they are stored.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._queue: Queue[tuple[str, bytes, bytes] | None] = Queue(_MAX_PENDING)
        self._thread = threading.Thread(target=self._run, name="drawing-archive", daemon=True)
        self._thread.start()

    def enqueue(self, model: str, drawing: bytes, picture: bytes) -> None:
        """Queue a drawing and its picture for upload; drop them if the queue is full.

        Parameters
        ----------
        model : str
            Name of the model.
        drawing, picture : bytes
            PNG files.
        """
        try:
            self._queue.put_nowait((model, drawing, picture))
        except Full:
            log.warning("Dropped a drawing: %d drawings are waiting for upload", _MAX_PENDING)

    def close(self, timeout: float = 60) -> None:
        """Wait until all queued drawings are uploaded.

        Parameters
        ----------
        timeout : float
            Seconds; what is not uploaded by then is dropped.
        """
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
            # Any error concerns this drawing alone; the next upload may succeed.
            except Exception as error:
                log.warning("Uploading a drawing failed; it is dropped: %s", error)
