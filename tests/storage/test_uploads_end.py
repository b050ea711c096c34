"""How long the end of an uploader's block waits, and what is left if the store fails."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from config.errors import ConflictError, InputError, StorageError
from storage import LocalStore, uploads
from storage.pending_uploads import list_pending
from storage.runs import Run
from storage.s3 import S3Store
from tests.faults.faulty_proxy import Fault, ProxiedRequest, run_faulty_proxy
from tests.s3 import SeaweedFS
from tests.storage.contents import observe_calls
from tests.storage.uploaders import (
    list_pending_files,
    make_failing_store,
    make_hanging_store,
    make_uploader,
)

pytestmark = pytest.mark.usefixtures("own_cache")


def test_timeout_raises_and_next_uploader_uploads(
    store: LocalStore, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_IDLE_TIMEOUT_S", 1.0)
    messages: list[str] = []
    with (
        pytest.raises(
            StorageError,
            match=r"full\. 2 files of run run are not uploaded to .*icanvas train demo`",
        ),
        make_uploader(make_failing_store(store, lambda: True), messages.append) as uploader,
    ):
        Run(uploader, "demo", "run").save_checkpoint(1, 10, b"one", {})
    assert messages
    assert "the store is full." in messages[0]
    assert list_pending_files(own_cache) == ["epoch-0001.json", "epoch-0001.pt"]
    (pending,) = list_pending(store)
    assert (pending.dataset, pending.run) == ("demo", "run")
    assert pending.size == sum(path.stat().st_size for path in Path(pending.folder).glob("*/*"))
    with make_uploader(store):
        pass
    assert list_pending(store) == []
    run = Run(store, "demo", "run")
    assert run.read_checkpoint(run.list_checkpoints()[0]) == b"one"
    assert list_pending_files(own_cache) == []


def test_idle_timeout_restarts_with_every_file(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_IDLE_TIMEOUT_S", 2.0)
    slow = observe_calls(store, lambda call: time.sleep(0.3) if call == "put_file" else None)
    with make_uploader(slow) as uploader:
        for number in range(8):
            uploader.put(f"models/demo/run/{number}", b"")
    assert len(list(store.list_keys("models/demo/run"))) == 8


def test_error_waits_for_grace_period_only(
    store: LocalStore, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    released = threading.Event()
    start = time.monotonic()

    def fail() -> None:
        with make_uploader(
            make_hanging_store(store, released), messages.append, grace_s=0.2
        ) as uploader:
            uploader.put("models/demo/run/a", b"1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert time.monotonic() - start < 30
    assert "Nothing is lost" in messages[-1]
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "_LOCK_TIMEOUT_S", 0.1)
        with pytest.raises(ConflictError, match=r"run of demo is in training on this machine"):
            make_uploader(store).__enter__()
    released.set()
    # The next uploader waits for the upload in progress.
    with make_uploader(store):
        assert store.get("models/demo/run/a") == b"1"
    assert list_pending_files(own_cache) == []


def test_stop_request_limits_wait_to_grace_period(store: LocalStore, own_cache: Path) -> None:
    released = threading.Event()
    start = time.monotonic()
    with (
        pytest.raises(StorageError, match="Nothing is lost"),
        make_uploader(
            make_hanging_store(store, released),
            grace_s=0.2,
            should_stop=lambda: time.monotonic() > start + 0.5,
        ) as uploader,
    ):
        uploader.put("models/demo/run/a", b"1")
    assert time.monotonic() - start < 30
    released.set()
    with make_uploader(store):
        assert store.get("models/demo/run/a") == b"1"


def test_final_error_of_a_run_still_uploads_its_files(store: LocalStore) -> None:
    """A run whose loss is NaN may never be started again."""
    slow = observe_calls(store, lambda call: time.sleep(0.2) if call == "put_file" else None)

    def fail() -> None:
        with make_uploader(slow, grace_s=0) as uploader:
            for number in range(5):
                uploader.put(f"models/demo/run/{number}", b"")
            raise InputError("the loss is nan")

    with pytest.raises(InputError):
        fail()
    assert len(list(store.list_keys("models/demo/run"))) == 5


def test_grace_period_is_a_total(store: LocalStore, own_cache: Path) -> None:
    messages: list[str] = []
    slow = observe_calls(store, lambda call: time.sleep(0.2) if call == "put_file" else None)

    def fail() -> None:
        with make_uploader(slow, messages.append, grace_s=0.5) as uploader:
            for number in range(30):
                uploader.put(f"models/demo/run/{number}", b"")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "Nothing is lost" in messages[-1]
    with make_uploader(store):
        pass
    assert len(list(store.list_keys("models/demo/run"))) == 30


def test_killed_process_leaves_all_files_for_the_next(store: LocalStore, own_cache: Path) -> None:
    script = """
        import os, signal, sys
        from pathlib import Path
        from storage import LocalStore, local
        from storage.uploads import AsyncUploader
        from storage.runs import Run
        from storage.gc_policy import CheckpointRetention

        class Full(LocalStore):
            def put_file(self, key, file):
                raise OSError("full")

        with AsyncUploader(Full(Path(sys.argv[1])), "demo", "run", CheckpointRetention(), 1) as out:
            run = Run(out, "demo", "run")
            for epoch in range(1, 3):
                run.save_checkpoint(epoch, epoch, b"%d" % epoch, {"val_l1": 1 / epoch})
            local.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
            run.put("metrics.jsonl", b"torn")
    """
    root = str(Path(store.location("x")).parent)
    command = [sys.executable, "-c", textwrap.dedent(script), root]
    assert subprocess.run(command, check=False).returncode == -9
    assert len(list_pending_files(own_cache)) == 5, "four files and a partial one"
    with make_uploader(store) as uploader:
        assert [record.epoch for record in Run(uploader, "demo", "run").list_checkpoints()] == [
            1,
            2,
        ]
    run = Run(store, "demo", "run")
    assert [run.read_checkpoint(record) for record in run.list_checkpoints()] == [b"1", b"2"]
    assert run.get("metrics.jsonl") is None
    assert list_pending_files(own_cache) == []


def test_hung_part_does_not_block_process_exit(s3_server: SeaweedFS, s3_store: S3Store) -> None:
    script = """
        import io, sys, threading
        from storage import open_store

        store = open_store(sys.argv[1])
        upload = lambda: store.put_file("object", io.BytesIO(bytes(20 << 20)))
        threading.Thread(target=upload, daemon=True).start()
        sys.stdin.readline()
    """
    started = threading.Event()

    def hang(request: ProxiedRequest) -> Fault | None:
        return Fault("hang", started.set) if "partNumber" in request.query else None

    with run_faulty_proxy(s3_server) as proxy:
        proxy.fault = hang
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), s3_store.url],
            env={**os.environ, "AWS_ENDPOINT_URL_S3": proxy.endpoint},
            stdin=subprocess.PIPE,
        )
        try:
            assert started.wait(60)
            child.communicate(b"end\n", timeout=30)
        finally:
            child.kill()
    assert child.returncode == 0


def test_timeout_is_extended_for_a_large_file(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not after an upload has failed."""
    monkeypatch.setattr(uploads, "_IDLE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(uploads, "_MIN_BYTES_PER_S", 1000)

    def sleep(call: str) -> None:
        if call == "put_file":
            time.sleep(1)

    with make_uploader(observe_calls(store, sleep)) as uploader:
        uploader.put("models/demo/run/large.bin", bytes(5000))
    assert store.get("models/demo/run/large.bin") == bytes(5000)

    start = time.monotonic()
    with (
        pytest.raises(StorageError, match="the store is full"),
        make_uploader(make_failing_store(store, lambda: True)) as uploader,
    ):
        uploader.put("models/demo/run/large.bin", bytes(50_000))
    assert time.monotonic() - start < 20
