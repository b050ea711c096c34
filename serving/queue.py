"""Drawings that wait, the threads that work on them, and one request's wait for its picture."""

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

# Share of the newest duration in the running mean.
_MEAN_WEIGHT = 0.1
# Nobody is sent away for longer.
_MAX_RETRY_AFTER_S = 60


class QueuedRequest:
    """One drawing on its way; the task that works on it is given this.

    Attributes
    ----------
    future : of what the task returns.
    stages : seconds by stage so far.
    """

    def __init__(self, task: "Task") -> None:
        self.task = task
        self.future: Future[bytes] = Future()
        self.stages: dict[str, float] = {}
        self.cancelled = False
        self._stage_start = time.perf_counter()

    def end_stage(self, name: str) -> None:
        """Note how long a stage took that ends now.

        Raises
        ------
        CancelledError
            If nobody waits for the result any more.
        """
        now = time.perf_counter()
        self.stages[name] = now - self._stage_start
        self._stage_start = now
        if self.cancelled:
            raise CancelledError


Task = Callable[[QueuedRequest], bytes]


class RequestQueue:
    """A queue of limited length before a fixed number of threads.

    Parameters
    ----------
    workers : threads.
    queue : jobs that wait at most.
    metrics : is told how many wait and run.
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
            threading.Thread(target=self._run, name=f"draw-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def check_capacity(self) -> None:
        """Raise the refusal of ``submit`` if it would come now."""
        if len(self._pending) >= self._max_size:
            raise self.busy_error()

    def busy_error(self) -> ApiError:
        """Return the refusal of a drawing that there is no time for, with when to try again."""
        wait = self._mean_duration * (len(self._pending) + 1) / self.workers
        return ApiError("busy", retry_after=min(_MAX_RETRY_AFTER_S, max(1, math.ceil(wait))))

    def submit(self, task: Task) -> QueuedRequest:
        """Queue a task.

        Raises
        ------
        Refusal
            If as many wait as may.
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
        """Say that nobody waits for a job any more: it is not begun, or ends after its stage."""
        request.cancelled = True
        with self._changed:
            if request in self._pending:
                self._pending.remove(request)
                self._metrics.queue_length.set(len(self._pending))
        request.future.cancel()

    def close(self, timeout: float = _MAX_RETRY_AFTER_S) -> None:
        """Take nothing any more, and return when what was taken is done, or patience ends.

        Parameters
        ----------
        patience : seconds; what is not done by then ends with the process.
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
                    # What it holds would live as long as this thread waits for the next.
                    del error
                else:
                    request.future.set_result(result)
                    self._mean_duration += _MEAN_WEIGHT * (time.perf_counter() - start - self._mean_duration)
            del request

    def _next_request(self) -> QueuedRequest | None:
        """Wait for a job; None when there will be none."""
        with self._changed:
            while not self._pending:
                if self._closing:
                    return None
                self._changed.wait()
            request = self._pending.popleft()
            self._metrics.queue_length.set(len(self._pending))
            return request


async def wait_for_result(queued: QueuedRequest, queue: RequestQueue, request: Request, timeout: float) -> bytes:
    """Return what comes of a job; whose client went away, or waits too long, is given up.

    Parameters
    ----------
    job, work : what was submitted where.
    request : whose body was read; nothing else may read from it meanwhile.
    seconds : to wait at most.

    Raises
    ------
    ClientDisconnect
        If the client went away.
    Refusal
        ``busy`` after the time, or what the job raised.
    """
    result = asyncio.wrap_future(queued.future)
    disconnected = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        both: set[asyncio.Future[bytes] | asyncio.Future[None]] = {result, disconnected}
        await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if result.done():
            return result.result()
        if disconnected.done():
            raise ClientDisconnect
        raise queue.busy_error()
    finally:
        disconnected.cancel()
        if not result.done():
            # Before the job ends: its error would find nobody.
            result.cancel()
            queue.cancel(queued)


async def _wait_for_disconnect(request: Request) -> None:
    """Return when the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
