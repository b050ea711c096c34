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
from storage.gc import prune
from storage.gc_policy import Keeping
from storage.keys import run_folder
from storage.local import LocalStore
from storage.pending_uploads import choose_next, is_record, waiting_folder
from storage.store import ObjectStore

# In seconds. The client of S3 has tried for a while itself when a push fails.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0

# How long nothing may arrive in the store at a run's end. A checkpoint has some 200 MB.
_PATIENCE = 600.0

# Bytes a second at which a file on its way is not given up, until the store has refused it.
_SLOWEST = 50_000

# From one look at whether to stop to the next.
_LOOK_EVERY = 0.2

# An outbox that has just been left may be in the middle of a last file.
_UNNOTICED = 2.0


class Outbox:
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
        keeping: Keeping,
        grace: float,
        should_stop: Callable[[], bool] = lambda: False,
        on_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._name = dataset, run
        self._folder = run_folder(dataset, run)
        self._keeping = keeping
        self._grace = grace
        self._should_stop = should_stop
        self._tell = on_trouble
        self._root = waiting_folder(store)
        self._lock = FileLock(
            self._root.with_name(f"{self._root.name}-{dataset}-{run}.lock"), thread_local=False
        )
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        # Guards the files here, and what follows.
        self._changed = threading.Condition()
        self._idle = False
        self._ended = False
        self._pushed = 0
        self._sending = 0
        self._trouble = ""
        # Only the thread's: whether the store may hold checkpoints that do not stay, what it has
        # refused, the last one at the end, and how often in a row something has failed.
        self._untidy = True
        self._refused: dict[str, None] = {}
        self._failures = 0

    def __enter__(self) -> "Outbox":
        with self._explained():
            self._root.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=_UNNOTICED)
            except Timeout:
                dataset, run = self._name
                raise ConflictError(
                    f"Run {run} of {dataset} is in training on this machine. Wait for it, or "
                    "change the recipe (--set seed=1) for a run of its own."
                ) from None
            try:
                self._local = LocalStore(self._root)
                # What a killed process did not write to its end.
                for upload in self._local.uploads(self._folder):
                    self._local.abort(upload)
            except BaseException:
                self._lock.release()
                raise
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._wait(_PATIENCE)
            elif issubclass(kind, Exception):
                # Of a run that ends for what it learned, no other one of the same may ever begin.
                told = issubclass(kind, IcanvasError) and not issubclass(kind, StorageError)
                try:
                    self._wait(_PATIENCE if told else self._grace, in_all=not told)
                except StorageError as left:
                    self._say(str(left))
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            self._thread.join(_UNNOTICED / 2)

    def put(self, key: str, data: bytes) -> None:
        """Write a file here; StorageError if there is no room."""
        with self._changed:
            with self._explained():
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

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a folder, here and in the store, sorted as strings."""
        # In this order: what is pushed meanwhile is in both.
        found = set(self._local.list(prefix))
        yield from sorted(found.union(self._store.list(prefix)))

    def delete(self, key: str) -> None:
        """Remove a file here and from the store."""
        with self._changed:
            self._local.delete(key)
        self._store.delete(key)

    def location(self, key: str) -> str:
        """Return where a person finds the file once it is pushed."""
        return self._store.location(key)

    def _wait(self, patience: float, in_all: bool = False) -> None:
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
            seen, ends = self._pushed, time.monotonic() + patience
            while not (self._idle or self._ended):
                # A large file on a slow line.
                more = 0 if in_all or self._trouble else self._sending / _SLOWEST
                left_for = ends + more - time.monotonic()
                if left_for <= 0:
                    break
                self._changed.wait(min(_LOOK_EVERY, left_for))
                if not in_all and self._should_stop():
                    in_all, ends = True, time.monotonic() + self._grace
                if self._pushed != seen and not in_all:
                    seen, ends = self._pushed, time.monotonic() + patience
            left = list(self._local.list(self._folder))
        if left:
            dataset, run = self._name
            raise StorageError(
                f"{self._trouble} {len(left)} files of run {run} are not in {self._store.url} yet. "
                f"Nothing is lost: they are in {self._local.location(self._folder)}, and the same "
                f"`icanvas train {dataset}` on this machine pushes them first.".lstrip()
            )

    def _work(self) -> None:
        try:
            while not self._ended:
                try:
                    if self._untidy or any(self._local.list(self._folder)):
                        self._do_next()
                        if not self._refused:
                            self._calm_down()
                    else:
                        # What failed last may have been tidying up.
                        self._calm_down()
                        self._rest()
                except Exception as error:
                    # Whatever it is, the files stay here.
                    self._failures += 1
                    self._trouble = str(error)
                    self._say(f"{error} What is not in the store stays in {self._root}.")
                    # Bounded: in a day of failures the power would leave the floats.
                    pause = _FIRST_PAUSE * 2 ** min(self._failures - 1, 10)
                    self._pause(min(pause, _LONGEST_PAUSE))
        finally:
            self._leave()

    def _calm_down(self) -> None:
        """Say that trouble is over where there was some."""
        if self._failures:
            self._failures, self._trouble = 0, ""
            self._say("")

    def _say(self, what: str) -> None:
        # Whoever is told may fail; the files are to arrive all the same.
        with suppress(Exception):
            self._tell(what)

    def _rest(self) -> None:
        """Wait until there is something to do."""
        with self._changed:
            if not any(self._local.list(self._folder)):
                self._idle = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._ended or not self._idle)

    def _do_next(self) -> None:
        if self._untidy:
            # Where it fails there is another time: after the next checkpoint.
            self._untidy = False
            prune(self._store, *self._name, self._keeping, set(self._local.list(self._folder)))
            return
        with self._changed:
            waiting = list(self._local.list(self._folder))
            prune(self._local, *self._name, self._keeping, set(waiting))
            waiting = list(self._local.list(self._folder))
            if not waiting:
                return
            self._refused = {key: None for key in self._refused if key in waiting}
            key = choose_next(waiting, self._refused)
            file = Path(self._local.location(key)).open("rb")  # noqa: SIM115
        with file:
            self._refused.pop(key, None)
            self._refused[key] = None
            self._push(key, file)
            del self._refused[key]
        self._untidy = is_record(key)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if not self._ended:
                self._changed.wait(seconds)

    def _push(self, key: str, file: BinaryIO) -> None:
        self._sending = os.fstat(file.fileno()).st_size
        self._store.put_file(key, file)
        with self._changed:
            # It may have been written anew meanwhile, or removed.
            with suppress(FileNotFoundError):
                there = Path(self._local.location(key)).stat()
                if os.path.samestat(os.fstat(file.fileno()), there):
                    self._local.delete(key)
            self._pushed += 1
            self._changed.notify_all()

    def _leave(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            with suppress(OSError):
                # While it is held: nobody else can have taken this one.
                Path(self._lock.lock_file).unlink(missing_ok=True)
                self._lock.release()
                self._root.rmdir()  # unless files are left, or another run's

    @contextmanager
    def _explained(self) -> Iterator[None]:
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
