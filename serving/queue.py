"""The request queue: waiting requests, the worker threads, and the wait for a result."""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

from starlette.requests import ClientDisconnect, Request

from serving.errors import ApiError
from serving.metrics import ServerMetrics

# Weight of the newest duration in the exponential moving average.
_MEAN_WEIGHT = 0.1
# Upper limit of ``Retry-After``.
_MAX_RETRY_AFTER_S = 60


class QueuedRequest:
    """A request in the queue or in a worker. Its task receives it as the argument.

    Attributes
    ----------
    task : Task
        Computes the result in a worker thread.
    future : Future of bytes
        The task's result.
    stages : dict
        Seconds by name of each finished stage.
    cancelled : bool
        Whether the result is no longer needed.
    """

    def __init__(self, task: "Task") -> None:
        self.task = task
        self.future: Future[bytes] = Future()
        self.stages: dict[str, float] = {}
        self.cancelled = False
        self._stage_start = time.perf_counter()

    def end_stage(self, name: str) -> None:
        """Record the duration of the stage that ends now.

        Parameters
        ----------
        name : str
            Name of the stage.

        Raises
        ------
        CancelledError
            If the request was cancelled.
        """
        now = time.perf_counter()
        self.stages[name] = now - self._stage_start
        self._stage_start = now
        if self.cancelled:
            raise CancelledError


Task = Callable[[QueuedRequest], bytes]


class RequestQueue:
    """A bounded FIFO queue with a fixed number of worker threads.

    Parameters
    ----------
    workers : int
        Number of threads.
    max_size : int
        Largest number of waiting requests.
    metrics : ServerMetrics
        Records how many requests wait and run.
    """

    def __init__(self, workers: int, max_size: int, metrics: ServerMetrics) -> None:
        self.workers = workers
        self._max_size = max_size
        self._metrics = metrics
        self._pending: deque[QueuedRequest] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._mean_duration = 0.0
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def check_capacity(self) -> None:
        """Check that the queue is not full.

        Raises
        ------
        ApiError
            ``busy`` if it is.
        """
        if len(self._pending) >= self._max_size:
            raise self.busy_error()

    def busy_error(self) -> ApiError:
        """Return the error ``busy``, with an estimate of when a worker is free."""
        wait = self._mean_duration * (len(self._pending) + 1) / self.workers
        return ApiError("busy", retry_after=min(_MAX_RETRY_AFTER_S, max(1, math.ceil(wait))))

    def submit(self, task: Task) -> QueuedRequest:
        """Queue a task.

        Parameters
        ----------
        task : Task
            Called in a worker thread.

        Raises
        ------
        ApiError
            ``busy`` if the queue is full or closed.
        """
        request = QueuedRequest(task)
        with self._changed:
            if self._closing or len(self._pending) >= self._max_size:
                raise self.busy_error()
            self._pending.append(request)
            self._metrics.queue_length.set(len(self._pending))
            self._changed.notify()
        return request

    def cancel(self, request: QueuedRequest) -> None:
        """Cancel a request: it leaves the queue, or stops at the end of its current stage.

        Parameters
        ----------
        request : QueuedRequest
            From ``submit``.
        """
        request.cancelled = True
        with self._changed:
            if request in self._pending:
                self._pending.remove(request)
                self._metrics.queue_length.set(len(self._pending))
        request.future.cancel()

    def close(self, timeout: float = _MAX_RETRY_AFTER_S) -> None:
        """Accept no more requests, and wait until the accepted ones are done.

        Parameters
        ----------
        timeout : float
            Seconds; requests that are not done by then end with the process.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while (request := self._next_request()) is not None:
            if not request.future.set_running_or_notify_cancel():
                continue
            start = time.perf_counter()
            with self._metrics.in_progress.track_inprogress():
                try:
                    request.end_stage("queue")
                    result = request.task(request)
                except BaseException as error:
                    request.future.set_exception(error)
                    # The traceback holds the drawing, and would keep it until the next request.
                    del error
                else:
                    request.future.set_result(result)
                    self._mean_duration += _MEAN_WEIGHT * (
                        time.perf_counter() - start - self._mean_duration
                    )
            del request

    def _next_request(self) -> QueuedRequest | None:
        """Wait for the next request; return None when the queue is closed and empty."""
        with self._changed:
            while not self._pending:
                if self._closing:
                    return None
                self._changed.wait()
            request = self._pending.popleft()
            self._metrics.queue_length.set(len(self._pending))
            return request


async def wait_for_result(
    queued: QueuedRequest, queue: RequestQueue, request: Request, timeout: float
) -> bytes:
    """Wait for a result; cancel the request if its client disconnects or the time runs out.

    Parameters
    ----------
    queued : QueuedRequest
        From ``queue.submit``.
    queue : RequestQueue
        The queue that it was submitted to.
    request : Request
        The HTTP request. Its body must have been read, and nothing else may receive from it.
    timeout : float
        Seconds.

    Returns
    -------
    bytes
        What the task returned.

    Raises
    ------
    ClientDisconnect
        If the client closed the connection.
    ApiError
        ``busy`` after the timeout.
    Exception
        Whatever the task raised.
    """
    result = asyncio.wrap_future(queued.future)
    disconnected = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        futures: set[asyncio.Future[bytes] | asyncio.Future[None]] = {result, disconnected}
        await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if result.done():
            return result.result()
        if disconnected.done():
            raise ClientDisconnect
        raise queue.busy_error()
    finally:
        disconnected.cancel()
        if not result.done():
            # Cancelled first: an error of the task would otherwise be logged as never retrieved.
            result.cancel()
            queue.cancel(queued)


async def _wait_for_disconnect(request: Request) -> None:
    """Return when the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
