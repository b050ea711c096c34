"""A run's files on their way to the store: kept on this machine until they are there."""

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

# In seconds. The client of S3 has tried for a while itself when a push fails.
_MIN_BACKOFF_S = 1.0
_MAX_BACKOFF_S = 60.0

# How long nothing may arrive in the store at a run's end. A checkpoint has some 200 MB.
_IDLE_TIMEOUT_S = 600.0

# Bytes a second at which a file on its way is not given up, until the store has refused it.
_MIN_BYTES_PER_S = 50_000

# From one look at whether to stop to the next.
_POLL_INTERVAL_S = 0.2

# An outbox that has just been left may be in the middle of a last file.
_LOCK_TIMEOUT_S = 2.0


class AsyncUploader:
    """Where a run in training writes its files, and reads them and those that the store has.

    A file is written whole into a folder of this machine's cache; one thread pushes it to the store
    and then removes it here. What fails is tried again until it succeeds, for as long as the
    ``with`` block lasts; others go first then. At its end the block waits for the last file. What a
    killed process left here is pushed by the next one. After each checkpoint those that do not stay
    are removed from the store, and those of them that wait here are not pushed at all.

    Parameters
    ----------
    store : where the files go.
    dataset, run : whose they are; nobody else on this machine can have an outbox of theirs.
    keeping : which checkpoints stay.
    grace : seconds that the end of the block waits in all where it is asked to stop, or the store
        or a fault of a program ends it; none for what is no error, as KeyboardInterrupt.
    should_stop : whether it is asked to.
    on_trouble : called from the thread with what went wrong, and with nothing when it is over;
        what it raises is ignored.

    Raises
    ------
    ConflictError
        If another process has the run's outbox.
    StorageError
        If there is no place for it; at the end of the block, if files wait and for ten minutes, or
        what a large one needs on a slow line, none has arrived in the store, or the grace is over.
        They stay.
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
        # Guards the files here, and what follows.
        self._changed = threading.Condition()
        self._idle = False
        self._stopped = False
        self._num_uploaded = 0
        self._bytes_in_flight = 0
        self._last_error = ""
        # Only the thread's: whether the store may hold checkpoints that do not stay, what it has
        # refused, the last one at the end, and how often in a row something has failed.
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
                    "change the recipe (--set seed=1) for a run of its own."
                ) from None
            try:
                self._local = LocalStore(self._root)
                # What a killed process did not write to its end.
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
                # Of a run that ends for what it learned, no other one of the same may ever begin.
                is_final = issubclass(exc_type, IcanvasError) and not issubclass(
                    exc_type, StorageError
                )
                try:
                    self._wait(
                        _IDLE_TIMEOUT_S if is_final else self._grace_s, is_total=not is_final
                    )
                except StorageError as left:
                    self._report(str(left))
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            self._thread.join(_LOCK_TIMEOUT_S / 2)

    def put(self, key: str, data: bytes) -> None:
        """Write a file here; StorageError if there is no room."""
        with self._changed:
            with self._translate_errors():
                self._local.put(key, data)
            self._idle = False
            self._changed.notify_all()

    def get(self, key: str) -> bytes:
        """Return a file of here or else of the store; errors as ``ObjectStore.get`` has them."""
        try:
            return self._local.get(key)
        except NotFoundError:
            return self._store.get(key)

    def exists(self, key: str) -> bool:
        """Tell whether there is a file of that key, here or in the store."""
        return self._local.exists(key) or self._store.exists(key)

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a folder, here and in the store, sorted as strings."""
        # In this order: what is pushed meanwhile is in both.
        local_keys = set(self._local.list_keys(prefix))
        yield from sorted(local_keys.union(self._store.list_keys(prefix)))

    def delete(self, key: str) -> None:
        """Remove a file here and from the store."""
        with self._changed:
            self._local.delete(key)
        self._store.delete(key)

    def location(self, key: str) -> str:
        """Return where a person finds the file once it is pushed."""
        return self._store.location(key)

    def _wait(self, timeout_s: float, is_total: bool = False) -> None:
        """Wait until every file is in the store.

        Raises
        ------
        StorageError
            If files wait when the time is over: so many seconds in all, or since the last arrived;
            or the grace, from when it is asked to stop on.
        """
        with self._changed:
            # A pause ends now.
            self._changed.notify_all()
            num_seen, deadline = self._num_uploaded, time.monotonic() + timeout_s
            while not (self._idle or self._stopped):
                # A large file on a slow line.
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
                f"{self._last_error} {len(pending)} files of run {run} are not in "
                f"{self._store.url} yet. Nothing is lost: they are in "
                f"{self._local.location(self._folder)}, and the same "
                f"`icanvas train {dataset}` on this machine pushes them first.".lstrip()
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
                        # What failed last may have been tidying up.
                        self._clear_error()
                        self._wait_for_work()
                except Exception as error:
                    # Whatever it is, the files stay here.
                    self._failures += 1
                    self._last_error = str(error)
                    self._report(f"{error} What is not in the store stays in {self._root}.")
                    # Bounded: in a day of failures the power would leave the floats.
                    pause = _MIN_BACKOFF_S * 2 ** min(self._failures - 1, 10)
                    self._pause(min(pause, _MAX_BACKOFF_S))
        finally:
            self._release()

    def _clear_error(self) -> None:
        """Say that trouble is over where there was some."""
        if self._failures:
            self._failures, self._last_error = 0, ""
            self._report("")

    def _report(self, message: str) -> None:
        # Whoever is told may fail; the files are to arrive all the same.
        with suppress(Exception):
            self._on_error(message)

    def _wait_for_work(self) -> None:
        """Wait until there is something to do."""
        with self._changed:
            if not any(self._local.list_keys(self._folder)):
                self._idle = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._stopped or not self._idle)

    def _upload_next(self) -> None:
        if self._prune_needed:
            # Where it fails there is another time: after the next checkpoint.
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
            # It may have been written anew meanwhile, or removed.
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
                # While it is held: nobody else can have taken this one.
                Path(self._lock.lock_file).unlink(missing_ok=True)
                self._lock.release()
                self._root.rmdir()  # unless files are left, or another run's

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except ConflictError:
            raise
        except (OSError, StorageError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            raise StorageError(
                f"A run's files have no place in {self._root} until the store has them: "
                f"{getattr(cause, 'strerror', None) or error}. Free some space, or choose another "
                "folder with ICANVAS_CACHE."
            ) from error
