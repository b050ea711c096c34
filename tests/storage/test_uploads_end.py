"""How long a run's end waits for the store, and what is left where it does not come."""

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


def test_a_store_that_takes_nothing_is_told_and_the_next_time_pushes(
    store: LocalStore, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_IDLE_TIMEOUT_S", 1.0)
    told: list[str] = []
    with (
        pytest.raises(
            StorageError, match=r"full\. 2 files of run run are not in .*icanvas train demo`"
        ),
        make_uploader(make_failing_store(store, lambda: True), told.append) as out,
    ):
        Run(out, "demo", "run").save_checkpoint(1, 10, b"one", {})
    assert told
    assert "the store is full." in told[0]
    assert list_pending_files(own_cache) == ["epoch-0001.json", "epoch-0001.pt"]
    (left,) = list_pending(store)
    assert (left.dataset, left.run) == ("demo", "run")
    assert left.size == sum(path.stat().st_size for path in Path(left.folder).glob("*/*"))
    with make_uploader(store):
        pass
    assert list_pending(store) == []
    run = Run(store, "demo", "run")
    assert run.read_checkpoint(run.list_checkpoints()[0]) == b"one"
    assert list_pending_files(own_cache) == []


def test_patience_begins_anew_with_every_file(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_IDLE_TIMEOUT_S", 2.0)
    slow = observe_calls(store, lambda call: time.sleep(0.3) if call == "put_file" else None)
    with make_uploader(slow) as out:
        for number in range(8):
            out.put(f"models/demo/run/{number}", b"")
    assert len(list(store.list_keys("models/demo/run"))) == 8


def test_an_error_waits_for_the_grace_period_only(
    store: LocalStore, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    halted = threading.Event()
    began = time.monotonic()

    def fail() -> None:
        with make_uploader(make_hanging_store(store, halted), told.append, grace_s=0.2) as out:
            out.put("models/demo/run/a", b"1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert time.monotonic() - began < 30
    assert "Nothing is lost" in told[-1]
    with monkeypatch.context() as hurried:
        hurried.setattr(uploads, "_LOCK_TIMEOUT_S", 0.1)
        with pytest.raises(ConflictError, match=r"run of demo is in training on this machine"):
            make_uploader(store).__enter__()
    halted.set()
    # The next one waits until what was in hand has arrived.
    with make_uploader(store):
        assert store.get("models/demo/run/a") == b"1"
    assert list_pending_files(own_cache) == []


def test_one_that_is_asked_to_stop_while_it_waits_has_the_grace_period(
    store: LocalStore, own_cache: Path
) -> None:
    halted = threading.Event()
    began = time.monotonic()
    with (
        pytest.raises(StorageError, match="Nothing is lost"),
        make_uploader(
            make_hanging_store(store, halted),
            grace_s=0.2,
            should_stop=lambda: time.monotonic() > began + 0.5,
        ) as out,
    ):
        out.put("models/demo/run/a", b"1")
    assert time.monotonic() - began < 30
    halted.set()
    with make_uploader(store):
        assert store.get("models/demo/run/a") == b"1"


def test_what_a_run_ends_for_does_not_keep_its_files_from_the_store(store: LocalStore) -> None:
    """Where its loss is no number any more, no other try of it may ever begin."""
    slow = observe_calls(store, lambda call: time.sleep(0.2) if call == "put_file" else None)

    def fail() -> None:
        with make_uploader(slow, grace_s=0) as out:
            for number in range(5):
                out.put(f"models/demo/run/{number}", b"")
            raise InputError("the loss is nan")

    with pytest.raises(InputError):
        fail()
    assert len(list(store.list_keys("models/demo/run"))) == 5


def test_the_grace_period_is_for_all_files_together(store: LocalStore, own_cache: Path) -> None:
    told: list[str] = []
    slow = observe_calls(store, lambda call: time.sleep(0.2) if call == "put_file" else None)

    def fail() -> None:
        with make_uploader(slow, told.append, grace_s=0.5) as out:
            for number in range(30):
                out.put(f"models/demo/run/{number}", b"")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "Nothing is lost" in told[-1]
    with make_uploader(store):
        pass
    assert len(list(store.list_keys("models/demo/run"))) == 30


def test_a_killed_process_leaves_all_of_it(store: LocalStore, own_cache: Path) -> None:
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
    assert len(list_pending_files(own_cache)) == 5, "four files and half of one"
    with make_uploader(store) as out:
        assert [record.epoch for record in Run(out, "demo", "run").list_checkpoints()] == [1, 2]
    run = Run(store, "demo", "run")
    assert [run.read_checkpoint(one) for one in run.list_checkpoints()] == [b"1", b"2"]
    assert run.get("metrics.jsonl") is None
    assert list_pending_files(own_cache) == []


def test_a_part_that_hangs_does_not_keep_a_process_alive(
    s3_server: SeaweedFS, s3_store: S3Store
) -> None:
    script = """
        import io, sys, threading
        from storage import open_store

        store = open_store(sys.argv[1])
        upload = lambda: store.put_file("object", io.BytesIO(bytes(20 << 20)))
        threading.Thread(target=upload, daemon=True).start()
        sys.stdin.readline()
    """
    begun = threading.Event()

    def hang(request: ProxiedRequest) -> Fault | None:
        return Fault("hang", begun.set) if "partNumber" in request.query else None

    with run_faulty_proxy(s3_server) as line:
        line.fault = hang
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), s3_store.url],
            env={**os.environ, "AWS_ENDPOINT_URL_S3": line.endpoint},
            stdin=subprocess.PIPE,
        )
        try:
            assert begun.wait(60)
            child.communicate(b"end\n", timeout=30)
        finally:
            child.kill()
    assert child.returncode == 0


def test_a_large_file_on_a_slow_line_is_waited_for(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not once the store has refused it."""
    monkeypatch.setattr(uploads, "_IDLE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(uploads, "_MIN_BYTES_PER_S", 1000)

    def dawdle(call: str) -> None:
        if call == "put_file":
            time.sleep(1)

    with make_uploader(observe_calls(store, dawdle)) as out:
        out.put("models/demo/run/large.bin", bytes(5000))
    assert store.get("models/demo/run/large.bin") == bytes(5000)

    start = time.monotonic()
    with (
        pytest.raises(StorageError, match="the store is full"),
        make_uploader(make_failing_store(store, lambda: True)) as out,
    ):
        out.put("models/demo/run/large.bin", bytes(50_000))
    assert time.monotonic() - start < 20
