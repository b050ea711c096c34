"""Files on their way to real stores that fail, hang, and come back."""

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

# More than goes in one request.
LARGE = bytes(range(256)) * (80 << 10)


def test_what_is_written_is_there_at_once_and_in_the_store_at_the_end(
    any_store: ObjectStore, own_cache: Path
) -> None:
    calls: list[str] = []
    halted = threading.Event()

    def wait(call: str) -> None:
        calls.append(call)
        if call == "put_file":
            halted.wait(60)

    with make_uploader(observe_calls(any_store, wait)) as out:
        run = Run(out, "demo", "run")
        Run(any_store, "demo", "run").put("recipe.json", b"{}")
        run.put("metrics.jsonl", b"1")
        run.save_checkpoint(1, 10, LARGE, {"val_l1": 0.5})
        assert run.get("metrics.jsonl") == b"1"
        assert run.get("recipe.json") == b"{}"
        assert [record.epoch for record in run.list_checkpoints()] == [1]
        assert run.read_checkpoint(run.list_checkpoints()[0]) == LARGE
        assert not any_store.exists(run.key("metrics.jsonl"))
        assert out.location("a") == any_store.location("a")
        halted.set()
    assert calls.count("put_file") == 3
    stored = Run(any_store, "demo", "run")
    assert stored.get("metrics.jsonl") == b"1"
    assert stored.read_checkpoint(stored.list_checkpoints()[0]) == LARGE
    assert list_pending_files(own_cache) == []
    assert not list((own_cache / "runs").iterdir()), "folders are left"


def test_bytes_come_before_their_record_and_the_newest_first(store: LocalStore) -> None:
    taken, go_on, order = threading.Event(), threading.Event(), []

    class Ordered(LocalStore):
        def put_file(self, key: str, file: object) -> None:
            taken.set()
            go_on.wait(60)
            order.append(key.rpartition("/")[2])
            super().put_file(key, file)  # type: ignore[arg-type]

    with make_uploader(Ordered(Path(store.location("x")).parent)) as out:
        run = Run(out, "demo", "run")
        run.put("samples/epoch-0001.jpg", b"")
        assert taken.wait(60)
        for epoch in (1, 2):
            run.save_checkpoint(epoch, epoch, b"", {})
        run.save_checkpoint(2, 3, b"", {}, batches=1)
        run.put("metrics.jsonl", b"")
        go_on.set()
    newest = ["step-00000003.pt", "step-00000003.json", "epoch-0002.pt", "epoch-0002.json"]
    assert order[:-2] == ["epoch-0001.jpg", "metrics.jsonl", *newest]
    assert order[-2:] == ["epoch-0001.pt", "epoch-0001.json"]


def test_a_server_that_is_away_for_a_while_gets_all_of_it(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies in the middle, each failure is told, and in the end every byte is there."""
    (tmp_path / "weed").mkdir()
    with running_s3(tmp_path / "weed") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        store = S3Store(BUCKET, "uploads", attempts=1)
        told: list[str] = []
        tries: list[int] = []

        def die_at_the_second(call: str) -> None:
            if call == "put_file":
                tries.append(1)
                if len(tries) == 2:
                    server.kill()

        with make_uploader(observe_calls(store, die_at_the_second), told.append) as out:
            run = Run(out, "demo", "run")
            run.save_checkpoint(1, 10, LARGE, {"val_l1": 0.5})
            run.save_checkpoint(2, 20, LARGE[::-1], {"val_l1": 0.4})
            run.put("metrics.jsonl", b"1")
            ends = time.monotonic() + 60
            while len(told) < 3 and time.monotonic() < ends:
                time.sleep(0.05)
            assert len(list_pending_files(own_cache)) >= 3, "what is not there is kept"
            server.start()
        assert all("cannot be reached" in what and str(own_cache) in what for what in told[:3])
        assert told[-1] == "", "and that it is over"
        stored = Run(store, "demo", "run")
        assert [stored.read_checkpoint(one) for one in stored.list_checkpoints()] == [
            LARGE,
            LARGE[::-1],
        ]
        body = server.client().get_object(Bucket=BUCKET, Key=f"uploads/{run.key('metrics.jsonl')}")
        assert body["Metadata"]["sha256"] == hashlib.sha256(b"1").hexdigest()
        assert list_pending_files(own_cache) == []


def test_what_the_store_refuses_lets_others_go(store: LocalStore) -> None:
    told: list[str] = []
    allowed = threading.Event()

    class NoSamples(LocalStore):
        def put_file(self, key: str, file: object) -> None:
            if "/samples/" in key and not allowed.is_set():
                raise StorageError("no permission.")
            super().put_file(key, file)  # type: ignore[arg-type]

    pushed = Run(store, "demo", "run")
    with make_uploader(NoSamples(store.root), told.append) as out:
        run = Run(out, "demo", "run")
        run.put("samples/epoch-0001.jpg", b"grid")
        run.save_checkpoint(1, 10, b"one", {})
        ends = time.monotonic() + 60
        while not pushed.list_checkpoints() and time.monotonic() < ends:
            time.sleep(0.05)
        assert pushed.read_checkpoint(pushed.list_checkpoints()[0]) == b"one"
        assert "" not in told, "it is not over"
        allowed.set()
    assert told[-1] == ""
    assert pushed.get("samples/epoch-0001.jpg") == b"grid"


def test_after_an_outage_no_file_holds_up_the_others(store: LocalStore) -> None:
    """All were refused once; one still is, and it is the one that would go first."""
    told: list[str] = []
    refused: set[str] = set()

    class Away(LocalStore):
        def put_file(self, key: str, file: object) -> None:
            if key.endswith("/z") or len(refused) < 3:
                refused.add(key)
                raise StorageError("away.")
            super().put_file(key, file)  # type: ignore[arg-type]

    def fail() -> None:
        with make_uploader(Away(store.root), told.append, grace_s=3) as out:
            for name in "xyz":
                out.put(f"models/demo/run/{name}", b"")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [key[-1] for key in store.list_keys("models/demo/run")] == ["x", "y"]


def test_an_outbox_that_cannot_be_opened_is_nobodys(store: LocalStore, own_cache: Path) -> None:
    with make_uploader(store):
        (folder,) = (path for path in (own_cache / "runs").iterdir() if path.is_dir())
    folder.write_bytes(b"in its place")
    with pytest.raises(StorageError, match="have no place"):
        make_uploader(store).__enter__()
    folder.unlink()
    with make_uploader(store) as out:
        out.put("models/demo/run/a", b"1")
    assert store.get("models/demo/run/a") == b"1"


def test_whoever_is_told_may_fail(store: LocalStore) -> None:
    refusals = iter([True, True])

    def fail(what: str) -> None:
        raise RuntimeError(what)

    with make_uploader(make_failing_store(store, lambda: next(refusals, False)), fail) as out:
        Run(out, "demo", "run").put("metrics.jsonl", b"1")
    assert Run(store, "demo", "run").get("metrics.jsonl") == b"1"


def test_a_cache_that_cannot_be_looked_into_for_a_while_is_told(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    with make_uploader(store, told.append) as out:
        real, failures = out._local.list_keys, iter([True, True])

        def fail_twice(prefix: str) -> Iterator[str]:
            if threading.current_thread().name == "uploader" and next(failures, False):
                raise StorageError("the disk is away.")
            return real(prefix)

        monkeypatch.setattr(out._local, "list_keys", fail_twice)
        Run(out, "demo", "run").put("metrics.jsonl", b"1")
    assert Run(store, "demo", "run").get("metrics.jsonl") == b"1"
    assert ["the disk is away." in what for what in told] == [True, True, False]
    assert told[-1] == ""


def test_trouble_with_tidying_up_ends_although_nothing_else_is_to_do(store: LocalStore) -> None:
    store.put("models/demo/promoted.json", b"?")
    told: list[str] = []
    over = threading.Event()

    def tell(what: str) -> None:
        told.append(what)
        if not what:
            over.set()

    with make_uploader(store, tell):
        assert over.wait(60)
    assert len(told) == 2


def test_one_run_has_one_outbox(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_uploader(store):
        with monkeypatch.context() as hurried:
            hurried.setattr(uploads, "_LOCK_TIMEOUT_S", 0.1)
            with pytest.raises(ConflictError, match=r"Wait for it, or change the recipe"):
                make_uploader(store).__enter__()
        with (
            AsyncUploader(store, "demo", "other", CheckpointRetention(), 1),
            AsyncUploader(
                LocalStore(tmp_path / "elsewhere"), "demo", "run", CheckpointRetention(), 1
            ),
        ):
            pass


def test_what_is_written_anew_meanwhile_is_pushed_anew(store: LocalStore) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(LocalStore):
        def put_file(self, key: str, file: object) -> None:
            super().put_file(key, file)  # type: ignore[arg-type]
            begun.set()
            go_on.wait(60)

    with make_uploader(Slow(Path(store.location("x")).parent)) as out:
        out.put("models/demo/run/metrics.jsonl", b"old")
        begun.wait(60)
        out.put("models/demo/run/metrics.jsonl", b"new")
        go_on.set()
    assert store.get("models/demo/run/metrics.jsonl") == b"new"


def test_what_the_rules_drop_while_it_waits_is_never_pushed(store: LocalStore) -> None:
    full, tried = [True], threading.Event()
    taken: list[None] = []

    def is_full() -> bool:
        tried.set()
        if not full[0]:
            taken.append(None)
        return full[0]

    with make_uploader(make_failing_store(store, is_full)) as out:
        run = Run(out, "demo", "run")
        for epoch, figure in enumerate([0.5, 0.1, 0.4, 0.3, 0.2, 0.6, 0.7], 1):
            run.save_checkpoint(epoch, epoch, b"", {"val_l1": figure})
        assert tried.wait(60)
        full[0] = False
    assert [record.epoch for record in Run(store, "demo", "run").list_checkpoints()] == [2, 5, 6, 7]
    assert len(taken) == 8


def test_no_room_on_this_machine_is_told(store: LocalStore, own_cache: Path) -> None:
    own_cache.mkdir()
    (own_cache / "runs").write_text("in the way")
    with pytest.raises(StorageError, match=r"have no place in .*another folder with ICANVAS_CACHE"):
        make_uploader(store).__enter__()


def test_trouble_with_tidying_up_does_not_hold_the_files(store: LocalStore) -> None:
    store.put("models/demo/promoted.json", b"?")
    told: list[str] = []
    with make_uploader(store, told.append) as out:
        Run(out, "demo", "run").save_checkpoint(1, 10, b"one", {})
    assert any("promoted.json is damaged" in what for what in told)
    assert [record.epoch for record in Run(store, "demo", "run").list_checkpoints()] == [1]
