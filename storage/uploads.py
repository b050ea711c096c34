"""``AsyncUploader``: uploads a run's files in the background; they stay on disk until then."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from filelock import FileLock, Timeout

from config.errors import ConflictError, IcanvasError, NotFoundError, StorageError
from storage.gc import prune_run
from storage.gc_policy import CheckpointRetention
from storage.keys import run_folder
from storage.local import LocalStore
from storage.pending_uploads import is_checkpoint_record, next_upload, pending_folder
from storage.store import ObjectStore

# Delays between failed uploads. The S3 client has already retried a request when it fails.
_MIN_BACKOFF_S = 1.0
_MAX_BACKOFF_S = 60.0

# How long the end of a run waits without any finished upload. A checkpoint has about 200 MB.
_IDLE_TIMEOUT_S = 600.0

# The timeout is extended by a file's upload time at this rate, unless an upload has failed.
_MIN_BYTES_PER_S = 50_000

# How often ``should_stop`` is called while waiting.
_POLL_INTERVAL_S = 0.2

# The thread of an uploader whose block has just ended may still be uploading a file.
_LOCK_TIMEOUT_S = 2.0


class AsyncUploader:
    """Write a run's files to local disk and upload them to the store in a background thread.

    It implements ``storage.store.KeyValueStore`` for the run: reads see the local files and those
    in the store. The thread uploads one file at a time and then deletes it locally. A failed upload
    is retried after the other files, for as long as the ``with`` block lasts. The end of the block
    waits until every file is uploaded. Files left by a killed process are uploaded by the next
    uploader of the run. After each checkpoint, those that ``retention`` does not retain are deleted
    from the store; those that are not uploaded yet are skipped.

    Parameters
    ----------
    store : ObjectStore
        Where the files go.
    dataset : str
        Name of the data set.
    run : str
        Name of the run. Only one uploader per run can exist on a machine.
    retention : CheckpointRetention
        Which checkpoints to retain.
    grace_s : float, seconds
        Total time that the end of the block may wait if ``should_stop`` returns True, or if a
        StorageError or an exception other than IcanvasError ends the block. Exceptions that are no
        ``Exception``, such as KeyboardInterrupt, do not wait at all.
    should_stop : callable, optional
        Returns whether the process was asked to stop.
    on_error : callable, optional
        Called by the thread with a message for every failure, and with ``""`` after recovery. Its
        exceptions are ignored.

    Raises
    ------
    ConflictError
        On entry, if another process on this machine trains the same run.
    StorageError
        On entry, if the local folder cannot be written to. On exit, if files are left and none has
        been uploaded for ten minutes (longer for a large file), or the grace period is over. The
        files stay on disk.
    """

    def __init__(
        self,
        store: ObjectStore,
        dataset: str,
        run: str,
        retention: CheckpointRetention,
        grace_s: float,
        should_stop: Callable[[], bool] = lambda: False,
        on_error: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._run_name = dataset, run
        self._folder = run_folder(dataset, run)
        self._retention = retention
        self._grace_s = grace_s
        self._should_stop = should_stop
        self._on_error = on_error
        self._root = pending_folder(store)
        self._lock = FileLock(
            self._root.with_name(f"{self._root.name}-{dataset}-{run}.lock"), thread_local=False
        )
        self._thread = threading.Thread(target=self._run_thread, name="uploader", daemon=True)
        # Guards the local files and the following attributes.
        self._changed = threading.Condition()
        self._idle = False
        self._stopped = False
        self._num_uploaded = 0
        self._bytes_in_flight = 0
        self._last_error = ""
        # The following are used by the thread only. The failed keys are in the order of their last
        # failure; ``_failures`` counts consecutive failures.
        self._prune_needed = True
        self._failed_keys: dict[str, None] = {}
        self._failures = 0

    def __enter__(self) -> "AsyncUploader":
        with self._translate_errors():
            self._root.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=_LOCK_TIMEOUT_S)
            except Timeout:
                dataset, run = self._run_name
                raise ConflictError(
                    f"Run {run} of {dataset} is in training on this machine. Wait for it, or "
                    "change the recipe (--set seed=1) to start another run."
                ) from None
            try:
                self._local = LocalStore(self._root)
                # Delete the partial files of a killed process.
                for upload in self._local.list_uploads(self._folder):
                    self._local.abort_upload(upload)
            except BaseException:
                self._lock.release()
                raise
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is None:
                self._wait(_IDLE_TIMEOUT_S)
            elif issubclass(exc_type, Exception):
                # After such an error, NaN in the loss for example, the run may never be started
                # again, so its files must be uploaded now.
                is_final = issubclass(exc_type, IcanvasError) and not issubclass(
                    exc_type, StorageError
                )
                try:
                    self._wait(
                        _IDLE_TIMEOUT_S if is_final else self._grace_s, is_total=not is_final
                    )
                except StorageError as timeout_error:
                    self._report(str(timeout_error))
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            self._thread.join(_LOCK_TIMEOUT_S / 2)

    def put(self, key: str, data: bytes) -> None:
        """Write a file to local disk, to be uploaded; StorageError if there is no space."""
        with self._changed:
            with self._translate_errors():
                self._local.put(key, data)
            self._idle = False
            self._changed.notify_all()

    def get(self, key: str) -> bytes:
        """Read a local file, or else one in the store; errors are those of ``ObjectStore.get``."""
        try:
            return self._local.get(key)
        except NotFoundError:
            return self._store.get(key)

    def exists(self, key: str) -> bool:
        """Check whether a file exists locally or in the store."""
        return self._local.exists(key) or self._store.exists(key)

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a folder, locally and in the store, in ascending order."""
        # In this order: a file that is uploaded meanwhile is in both.
        local_keys = set(self._local.list_keys(prefix))
        yield from sorted(local_keys.union(self._store.list_keys(prefix)))

    def delete(self, key: str) -> None:
        """Delete a file locally and in the store."""
        with self._changed:
            self._local.delete(key)
        self._store.delete(key)

    def location(self, key: str) -> str:
        """Return the file's path or URL in the store."""
        return self._store.location(key)

    def _wait(self, timeout_s: float, is_total: bool = False) -> None:
        """Wait until every file is uploaded.

        Parameters
        ----------
        timeout_s : float, seconds
            How long to wait: in total, or since the last uploaded file.
        is_total : bool
            Whether the timeout is a total.

        Raises
        ------
        StorageError
            If files are left after the timeout, or after the grace period once the process was
            asked to stop.
        """
        with self._changed:
            # End a backoff delay.
            self._changed.notify_all()
            num_seen, deadline = self._num_uploaded, time.monotonic() + timeout_s
            while not (self._idle or self._stopped):
                # Allow for a large file on a slow connection.
                extra_s = (
                    0 if is_total or self._last_error else self._bytes_in_flight / _MIN_BYTES_PER_S
                )
                remaining_s = deadline + extra_s - time.monotonic()
                if remaining_s <= 0:
                    break
                self._changed.wait(min(_POLL_INTERVAL_S, remaining_s))
                if not is_total and self._should_stop():
                    is_total, deadline = True, time.monotonic() + self._grace_s
                if self._num_uploaded != num_seen and not is_total:
                    num_seen, deadline = self._num_uploaded, time.monotonic() + timeout_s
            pending = list(self._local.list_keys(self._folder))
        if pending:
            dataset, run = self._run_name
            raise StorageError(
                f"{self._last_error} {len(pending)} files of run {run} are not uploaded to "
                f"{self._store.url} yet. Nothing is lost: they are in "
                f"{self._local.location(self._folder)}, and the same "
                f"`icanvas train {dataset}` on this machine uploads them first.".lstrip()
            )

    def _run_thread(self) -> None:
        try:
            while not self._stopped:
                try:
                    if self._prune_needed or any(self._local.list_keys(self._folder)):
                        self._upload_next()
                        if not self._failed_keys:
                            self._clear_error()
                    else:
                        # The last failure may have been one of pruning.
                        self._clear_error()
                        self._wait_for_work()
                except Exception as error:
                    # Whatever failed, the files are still on disk and are retried.
                    self._failures += 1
                    self._last_error = str(error)
                    self._report(f"{error} Files that are not uploaded yet stay in {self._root}.")
                    # Bounded exponent: after a day of failures the power would overflow.
                    pause = _MIN_BACKOFF_S * 2 ** min(self._failures - 1, 10)
                    self._pause(min(pause, _MAX_BACKOFF_S))
        finally:
            self._release()

    def _clear_error(self) -> None:
        """Report recovery if there was a failure."""
        if self._failures:
            self._failures, self._last_error = 0, ""
            self._report("")

    def _report(self, message: str) -> None:
        # An error in the callback must not stop the uploads.
        with suppress(Exception):
            self._on_error(message)

    def _wait_for_work(self) -> None:
        """Wait until there is a file to upload, or the uploader is stopped."""
        with self._changed:
            if not any(self._local.list_keys(self._folder)):
                self._idle = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._stopped or not self._idle)

    def _upload_next(self) -> None:
        if self._prune_needed:
            # If it fails, it is tried again after the next checkpoint.
            self._prune_needed = False
            prune_run(
                self._store,
                *self._run_name,
                self._retention,
                set(self._local.list_keys(self._folder)),
            )
            return
        with self._changed:
            pending = list(self._local.list_keys(self._folder))
            prune_run(self._local, *self._run_name, self._retention, set(pending))
            pending = list(self._local.list_keys(self._folder))
            if not pending:
                return
            self._failed_keys = {key: None for key in self._failed_keys if key in pending}
            key = next_upload(pending, self._failed_keys)
            file = Path(self._local.location(key)).open("rb")  # noqa: SIM115
        with file:
            self._failed_keys.pop(key, None)
            self._failed_keys[key] = None
            self._upload(key, file)
            del self._failed_keys[key]
        self._prune_needed = is_checkpoint_record(key)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if not self._stopped:
                self._changed.wait(seconds)

    def _upload(self, key: str, file: BinaryIO) -> None:
        self._bytes_in_flight = os.fstat(file.fileno()).st_size
        self._store.put_file(key, file)
        with self._changed:
            # The file may have been replaced or deleted meanwhile.
            with suppress(FileNotFoundError):
                current = Path(self._local.location(key)).stat()
                if os.path.samestat(os.fstat(file.fileno()), current):
                    self._local.delete(key)
            self._num_uploaded += 1
            self._changed.notify_all()

    def _release(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            with suppress(OSError):
                # Delete the lock file while it is held, so that it is not another process's.
                Path(self._lock.lock_file).unlink(missing_ok=True)
                self._lock.release()
                self._root.rmdir()  # fails if files are left, also of another run

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except ConflictError:
            raise
        except (OSError, StorageError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            raise StorageError(
                f"Writing a run's files to {self._root} failed: "
                f"{getattr(cause, 'strerror', None) or error}. Free some space, or choose another "
                "folder with ICANVAS_CACHE."
            ) from error
