"""``AsyncUploader`` with real stores that fail, hang and recover."""

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.errors import ConflictError, StorageError
from storage import LocalStore, ObjectStore, uploads
from storage.gc_policy import CheckpointRetention
from storage.runs import Run
from storage.s3 import S3Store
from storage.uploads import AsyncUploader
from tests.s3 import BUCKET, running_s3
from tests.storage.contents import observe_calls
from tests.storage.uploaders import list_pending_files, make_failing_store, make_uploader

pytestmark = pytest.mark.usefixtures("own_cache")

# More than fits into one request.
LARGE = bytes(range(256)) * (80 << 10)


def test_files_are_readable_at_once_and_uploaded_at_the_end(
    any_store: ObjectStore, own_cache: Path
) -> None:
    calls: list[str] = []
    released = threading.Event()

    def wait(call: str) -> None:
        calls.append(call)
        if call == "put_file":
            released.wait(60)

    with make_uploader(observe_calls(any_store, wait)) as uploader:
        run = Run(uploader, "demo", "run")
        Run(any_store, "demo", "run").put("recipe.json", b"{}")
        run.put("metrics.jsonl", b"1")
        run.save_checkpoint(1, 10, LARGE, {"val_l1": 0.5})
        assert run.get("metrics.jsonl") == b"1"
        assert run.get("recipe.json") == b"{}"
        assert [record.epoch for record in run.list_checkpoints()] == [1]
        assert run.read_checkpoint(run.list_checkpoints()[0]) == LARGE
        assert not any_store.exists(run.key("metrics.jsonl"))
        assert uploader.location("a") == any_store.location("a")
        released.set()
    assert calls.count("put_file") == 3
    stored = Run(any_store, "demo", "run")
    assert stored.get("metrics.jsonl") == b"1"
    assert stored.read_checkpoint(stored.list_checkpoints()[0]) == LARGE
    assert list_pending_files(own_cache) == []
    assert not list((own_cache / "runs").iterdir()), "folders are left"


def test_bytes_are_uploaded_before_records_newest_first(store: LocalStore) -> None:
    started, released, order = threading.Event(), threading.Event(), []

    class Ordered(LocalStore):
        def put_file(self, key: str, file: object) -> None:
            started.set()
            released.wait(60)
            order.append(key.rpartition("/")[2])
            super().put_file(key, file)  # type: ignore[arg-type]

    with make_uploader(Ordered(Path(store.location("x")).parent)) as uploader:
        run = Run(uploader, "demo", "run")
        run.put("samples/epoch-0001.jpg", b"")
        assert started.wait(60)
        for epoch in (1, 2):
            run.save_checkpoint(epoch, epoch, b"", {})
        run.save_checkpoint(2, 3, b"", {}, batches=1)
        run.put("metrics.jsonl", b"")
        released.set()
    newest = ["step-00000003.pt", "step-00000003.json", "epoch-0002.pt", "epoch-0002.json"]
    assert order[:-2] == ["epoch-0001.jpg", "metrics.jsonl", *newest]
    assert order[-2:] == ["epoch-0001.pt", "epoch-0001.json"]


def test_uploads_resume_after_server_outage(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server dies during an upload; every failure is reported, and every file arrives."""
    (tmp_path / "weed").mkdir()
    with running_s3(tmp_path / "weed") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        store = S3Store(BUCKET, "uploads", attempts=1)
        messages: list[str] = []
        attempts: list[int] = []

        def die_at_the_second(call: str) -> None:
            if call == "put_file":
                attempts.append(1)
                if len(attempts) == 2:
                    server.kill()

        with make_uploader(observe_calls(store, die_at_the_second), messages.append) as uploader:
            run = Run(uploader, "demo", "run")
            run.save_checkpoint(1, 10, LARGE, {"val_l1": 0.5})
            run.save_checkpoint(2, 20, LARGE[::-1], {"val_l1": 0.4})
            run.put("metrics.jsonl", b"1")
            deadline = time.monotonic() + 60
            while len(messages) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert len(list_pending_files(own_cache)) >= 3, "pending files stay on disk"
            server.start()
        assert all(
            "cannot be reached" in message and str(own_cache) in message for message in messages[:3]
        )
        assert messages[-1] == "", "recovery was not reported"
        stored = Run(store, "demo", "run")
        assert [stored.read_checkpoint(record) for record in stored.list_checkpoints()] == [
            LARGE,
            LARGE[::-1],
        ]
        body = server.client().get_object(Bucket=BUCKET, Key=f"uploads/{run.key('metrics.jsonl')}")
        assert body["Metadata"]["sha256"] == hashlib.sha256(b"1").hexdigest()
        assert list_pending_files(own_cache) == []


def test_failing_file_does_not_block_others(store: LocalStore) -> None:
    messages: list[str] = []
    allowed = threading.Event()

    class NoSamples(LocalStore):
        def put_file(self, key: str, file: object) -> None:
            if "/samples/" in key and not allowed.is_set():
                raise StorageError("no permission.")
            super().put_file(key, file)  # type: ignore[arg-type]

    stored = Run(store, "demo", "run")
    with make_uploader(NoSamples(store.root), messages.append) as uploader:
        run = Run(uploader, "demo", "run")
        run.put("samples/epoch-0001.jpg", b"grid")
        run.save_checkpoint(1, 10, b"one", {})
        deadline = time.monotonic() + 60
        while not stored.list_checkpoints() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert stored.read_checkpoint(stored.list_checkpoints()[0]) == b"one"
        assert "" not in messages, "recovery was reported too early"
        allowed.set()
    assert messages[-1] == ""
    assert stored.get("samples/epoch-0001.jpg") == b"grid"


def test_failing_file_does_not_block_others_after_outage(store: LocalStore) -> None:
    """All files failed once; one still fails, and it is the one that would be first."""
    messages: list[str] = []
    failed: set[str] = set()

    class Away(LocalStore):
        def put_file(self, key: str, file: object) -> None:
            if key.endswith("/z") or len(failed) < 3:
                failed.add(key)
                raise StorageError("away.")
            super().put_file(key, file)  # type: ignore[arg-type]

    def fail() -> None:
        with make_uploader(Away(store.root), messages.append, grace_s=3) as uploader:
            for name in "xyz":
                uploader.put(f"models/demo/run/{name}", b"")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [key[-1] for key in store.list_keys("models/demo/run")] == ["x", "y"]


def test_failed_enter_releases_the_lock(store: LocalStore, own_cache: Path) -> None:
    with make_uploader(store):
        (folder,) = (path for path in (own_cache / "runs").iterdir() if path.is_dir())
    folder.write_bytes(b"in its place")
    with pytest.raises(StorageError, match="Writing a run's files to"):
        make_uploader(store).__enter__()
    folder.unlink()
    with make_uploader(store) as uploader:
        uploader.put("models/demo/run/a", b"1")
    assert store.get("models/demo/run/a") == b"1"


def test_error_in_callback_is_ignored(store: LocalStore) -> None:
    failures = iter([True, True])

    def fail(message: str) -> None:
        raise RuntimeError(message)

    with make_uploader(make_failing_store(store, lambda: next(failures, False)), fail) as uploader:
        Run(uploader, "demo", "run").put("metrics.jsonl", b"1")
    assert Run(store, "demo", "run").get("metrics.jsonl") == b"1"


def test_unreadable_cache_is_reported_and_retried(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    with make_uploader(store, messages.append) as uploader:
        real, failures = uploader._local.list_keys, iter([True, True])

        def fail_twice(prefix: str) -> Iterator[str]:
            if threading.current_thread().name == "uploader" and next(failures, False):
                raise StorageError("the disk is away.")
            return real(prefix)

        monkeypatch.setattr(uploader._local, "list_keys", fail_twice)
        Run(uploader, "demo", "run").put("metrics.jsonl", b"1")
    assert Run(store, "demo", "run").get("metrics.jsonl") == b"1"
    assert ["the disk is away." in message for message in messages] == [True, True, False]
    assert messages[-1] == ""


def test_recovery_from_prune_failure_is_reported(store: LocalStore) -> None:
    store.put("models/demo/promoted.json", b"?")
    messages: list[str] = []
    recovered = threading.Event()

    def on_error(message: str) -> None:
        messages.append(message)
        if not message:
            recovered.set()

    with make_uploader(store, on_error):
        assert recovered.wait(60)
    assert len(messages) == 2


def test_second_uploader_of_a_run_conflicts(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_uploader(store):
        with monkeypatch.context() as patch:
            patch.setattr(uploads, "_LOCK_TIMEOUT_S", 0.1)
            with pytest.raises(ConflictError, match=r"Wait for it, or change the recipe"):
                make_uploader(store).__enter__()
        with (
            AsyncUploader(store, "demo", "other", CheckpointRetention(), 1),
            AsyncUploader(
                LocalStore(tmp_path / "elsewhere"), "demo", "run", CheckpointRetention(), 1
            ),
        ):
            pass


def test_file_replaced_during_upload_is_uploaded_again(store: LocalStore) -> None:
    started, released = threading.Event(), threading.Event()

    class Slow(LocalStore):
        def put_file(self, key: str, file: object) -> None:
            super().put_file(key, file)  # type: ignore[arg-type]
            started.set()
            released.wait(60)

    with make_uploader(Slow(Path(store.location("x")).parent)) as uploader:
        uploader.put("models/demo/run/metrics.jsonl", b"old")
        started.wait(60)
        uploader.put("models/demo/run/metrics.jsonl", b"new")
        released.set()
    assert store.get("models/demo/run/metrics.jsonl") == b"new"


def test_pruned_pending_checkpoint_is_not_uploaded(store: LocalStore) -> None:
    full, attempted = [True], threading.Event()
    uploads_done: list[None] = []

    def is_full() -> bool:
        attempted.set()
        if not full[0]:
            uploads_done.append(None)
        return full[0]

    with make_uploader(make_failing_store(store, is_full)) as uploader:
        run = Run(uploader, "demo", "run")
        for epoch, val_l1 in enumerate([0.5, 0.1, 0.4, 0.3, 0.2, 0.6, 0.7], 1):
            run.save_checkpoint(epoch, epoch, b"", {"val_l1": val_l1})
        assert attempted.wait(60)
        full[0] = False
    assert [record.epoch for record in Run(store, "demo", "run").list_checkpoints()] == [2, 5, 6, 7]
    assert len(uploads_done) == 8


def test_unusable_cache_raises_storage_error(store: LocalStore, own_cache: Path) -> None:
    own_cache.mkdir()
    (own_cache / "runs").write_text("in the way")
    with pytest.raises(
        StorageError, match=r"files to .* failed: .*another folder with ICANVAS_CACHE"
    ):
        make_uploader(store).__enter__()


def test_prune_failure_does_not_block_uploads(store: LocalStore) -> None:
    store.put("models/demo/promoted.json", b"?")
    messages: list[str] = []
    with make_uploader(store, messages.append) as uploader:
        Run(uploader, "demo", "run").save_checkpoint(1, 10, b"one", {})
    assert any("promoted.json is corrupt" in message for message in messages)
    assert [record.epoch for record in Run(store, "demo", "run").list_checkpoints()] == [1]
