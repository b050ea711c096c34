"""Memory that truly runs out, and what is remembered of when it did not."""

import re
import resource
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.errors import InputError
from config.recipe import Recipe
from model.device import resolve_precision
from model.training.batch_size_finder import read_proc_bytes
from model.training.distributed import DistributedContext
from model.training.memory import BatchSizeCache, OomGuard, is_out_of_memory
from storage import LocalStore
from tests.model.pairs import publish_test_pairs
from tests.model.training.test_train import CPU, SMALL, train_small

# A step takes some hundred MB more than there is.
LARGE = Recipe(
    batch=4,
    epochs=1,
    generator_width=16,
    generator_blocks=1,
    discriminator_width=4,
    precision="f32",
)


def starve(folder: Path, more: int) -> str:
    """Train with so many more bytes of memory; return what is told."""
    # What is loaded for the first time takes memory, too.
    train_small(LocalStore(folder))
    used = read_proc_bytes("/proc/self/status", "VmData")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + more, before[1]))
    try:
        train_small(LocalStore(folder), recipe=LARGE)
    except InputError as error:
        resource.setrlimit(resource.RLIMIT_DATA, before)
        return str(error)
    return "nothing"


@pytest.mark.slow
def test_what_does_not_fit_is_told_with_what_did(
    store: LocalStore, own_store: Path, own_cache: Path
) -> None:
    publish_test_pairs(store, "ttttv")
    # Of its own: what has once met the limit does not always recover.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        told = pool.submit(starve, own_store, 100 << 20).result()
        assert told == (
            "tiny: out of memory: a step of batch=4 at 256 px does not fit on the CPU. Try "
            "--set batch=2, or find the largest that fits with `icanvas train tiny --find-batch`."
        )
        BatchSizeCache(LARGE, CPU).put(1)
        told = pool.submit(starve, own_store, 100 << 20).result()
    assert "does not fit on the CPU; 1 fitted last time (20" in told
    assert "--set batch=1, or" in told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "resume_or_init",
            r"its state without any step at 64 px .* Try a smaller generator_width\.",
        ),
        ("train_step", r"a step of batch=2 at 64 px .* Try --set batch=1, or find the largest"),
        (
            "serialize_state",
            r"a checkpoint or validation beside steps of batch=2 .* Try --set batch=1",
        ),
        ("validate", r"a checkpoint or validation beside steps of batch=2 .* Try --set batch=1"),
    ],
)
def test_memory_that_runs_out_anywhere_is_explained(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    publish_test_pairs(store, "ttttv")

    def run_out(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(import_module("model.training.loop"), name, run_out)
    with pytest.raises(InputError, match=f"tiny: out of memory: {told}"):
        train_small(store)


def test_a_batch_that_no_step_was_as_large_as_is_not_remembered(
    store: LocalStore, own_cache: Path
) -> None:
    publish_test_pairs(store, "ttv")
    whole = SMALL.model_copy(update={"batch": 2, "epochs": 2})
    train_small(store, recipe=whole.model_copy(update={"batch": 3}))
    assert BatchSizeCache(resolve_precision(whole, CPU), CPU).get() is None
    train_small(store, recipe=whole)
    fit = BatchSizeCache(resolve_precision(whole, CPU), CPU).get()
    assert fit is not None
    assert fit.batch == 2


@given(
    batch=st.integers(1, 1024),
    processes=st.integers(1, 8),
    side=st.sampled_from([64, 96, 128, 200, 256]),
    fitted=st.none() | st.integers(1, 1024),
    stepping=st.booleans(),
)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_advised_can_be_done(
    own_cache: Path, batch: int, processes: int, side: int, fitted: int | None, stepping: bool
) -> None:
    batch = max(batch, processes)
    recipe = LARGE.model_copy(update={"batch": batch, "image_size": side})
    (own_cache / "batches.json").unlink(missing_ok=True)
    if fitted:
        BatchSizeCache(recipe, CPU).put(fitted)

    def fail() -> None:
        with OomGuard("tiny", recipe, CPU, DistributedContext(0, processes)) as guard:
            if stepping:
                with guard.step(batch):
                    raise MemoryError
            raise MemoryError

    with pytest.raises(InputError) as error:
        fail()
    advice = str(error.value).partition("Try ")[2]
    assert advice.rstrip(".")
    for found in re.findall(r"--set batch=(\d+)", advice):
        assert processes <= int(found) < batch
    for found in re.findall(r"image_size=(\d+)", advice):
        assert 64 <= int(found) < side


def test_what_fits_compiled_is_remembered_apart() -> None:
    BatchSizeCache(LARGE, CPU, compiled=True).put(8)
    assert BatchSizeCache(LARGE, CPU).get() is None
    BatchSizeCache(LARGE, CPU).put(2)
    found = [BatchSizeCache(LARGE, CPU, compiled).get() for compiled in (False, True)]
    assert [one.batch for one in found if one] == [2, 8]


def test_a_run_remembers_what_fitted(store: LocalStore, own_cache: Path) -> None:
    publish_test_pairs(store, "tttt")
    train_small(store)
    found = BatchSizeCache(resolve_precision(SMALL, CPU), CPU).get()
    assert found is not None
    assert found.batch == SMALL.batch
    wider = resolve_precision(SMALL, CPU).model_copy(update={"generator_width": 8})
    assert BatchSizeCache(wider, CPU).get() is None


def test_the_largest_is_remembered_until_it_does_not_fit() -> None:
    for batch in (4, 8, 2):
        BatchSizeCache(LARGE, CPU).put(batch)
    other = LARGE.model_copy(update={"image_size": 64})
    BatchSizeCache(other, CPU).put(3)

    def known(below: int | None = None) -> int | None:
        found = BatchSizeCache(LARGE, CPU).get(below=below)
        return found.batch if found else None

    assert known() == known(below=9) == 8
    assert known(below=8) is None, "somebody else has the memory now"
    assert known() is None
    found = BatchSizeCache(other, CPU).get()
    assert found is not None
    assert found.batch == 3


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"the CPU": 3}'])
def test_a_spoilt_memory_is_an_empty_one(own_cache: Path, data: bytes) -> None:
    own_cache.mkdir()
    (own_cache / "batches.json").write_bytes(data)
    assert BatchSizeCache(LARGE, CPU).get() is None
    BatchSizeCache(LARGE, CPU).put(4)
    assert BatchSizeCache(LARGE, CPU).get() is not None
    assert [path.name for path in own_cache.iterdir()] == ["batches.json"]


def test_without_a_place_nothing_is_remembered(own_cache: Path) -> None:
    own_cache.write_text("not a folder")
    BatchSizeCache(LARGE, CPU).put(4)
    assert BatchSizeCache(LARGE, CPU).get() is None


def test_other_errors_stay_what_they_are() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("bad_alloc"))
