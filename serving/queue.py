"""Drawings that wait and the threads that work on them."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

from serving.errors import Refusal
from serving.metrics import Metrics

# Share of the newest duration in the running mean.
_NEWEST = 0.1
# Nobody is sent away for longer.
_LONGEST_WAIT = 60


class Job:
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
        self.unwanted = False
        self._last = time.perf_counter()

    def end_stage(self, name: str) -> None:
        """Note how long a stage took that ends now.

        Raises
        ------
        CancelledError
            If nobody waits for the result any more.
        """
        now = time.perf_counter()
        self.stages[name] = now - self._last
        self._last = now
        if self.unwanted:
            raise CancelledError


Task = Callable[[Job], bytes]


class Work:
    """A queue of limited length before a fixed number of threads.

    Parameters
    ----------
    workers : threads.
    queue : jobs that wait at most.
    metrics : is told how many wait and run.
    """

    def __init__(self, workers: int, queue: int, metrics: Metrics) -> None:
        self.workers = workers
        self._most = queue
        self._metrics = metrics
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._mean = 0.0
        self._threads = [
            threading.Thread(target=self._run, name=f"draw-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def check_room(self) -> None:
        """Raise the refusal of ``submit`` if it would come now."""
        if len(self._jobs) >= self._most:
            raise self.busy()

    def busy(self) -> Refusal:
        """Return the refusal of a drawing that there is no time for, with when to try again."""
        wait = self._mean * (len(self._jobs) + 1) / self.workers
        return Refusal("busy", retry_after=min(_LONGEST_WAIT, max(1, math.ceil(wait))))

    def submit(self, task: Task) -> Job:
        """Queue a task.

        Raises
        ------
        Refusal
            If as many wait as may.
        """
        job = Job(task)
        with self._changed:
            if self._closing or len(self._jobs) >= self._most:
                raise self.busy()
            self._jobs.append(job)
            self._metrics.waiting.set(len(self._jobs))
            self._changed.notify()
        return job

    def cancel(self, job: Job) -> None:
        """Say that nobody waits for a job any more: it is not begun, or ends after its stage."""
        job.unwanted = True
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._metrics.waiting.set(len(self._jobs))
        job.future.cancel()

    def close(self, patience: float = _LONGEST_WAIT) -> None:
        """Take nothing any more, and return when what was taken is done, or patience ends.

        Parameters
        ----------
        patience : seconds; what is not done by then ends with the process.
        """
        ends = time.monotonic() + patience
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def _run(self) -> None:
        while (job := self._take()) is not None:
            if not job.future.set_running_or_notify_cancel():
                continue
            began = time.perf_counter()
            with self._metrics.running.track_inprogress():
                try:
                    job.end_stage("queue")
                    result = job.task(job)
                except BaseException as error:
                    job.future.set_exception(error)
                    # What it holds would live as long as this thread waits for the next.
                    del error
                else:
                    job.future.set_result(result)
                    self._mean += _NEWEST * (time.perf_counter() - began - self._mean)
            del job

    def _take(self) -> Job | None:
        """Wait for a job; None when there will be none."""
        with self._changed:
            while not self._jobs:
                if self._closing:
                    return None
                self._changed.wait()
            job = self._jobs.popleft()
            self._metrics.waiting.set(len(self._jobs))
            return job
