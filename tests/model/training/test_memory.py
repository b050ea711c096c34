"""Out-of-memory errors, also real ones, and the cache of batch sizes that fit."""

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

# A step needs some hundred MB more than the limit.
LARGE = Recipe(
    batch=4,
    epochs=1,
    generator_width=16,
    generator_blocks=1,
    discriminator_width=4,
    precision="f32",
)


def train_with_little_memory(folder: Path, extra_bytes: int) -> str:
    """Train with so many bytes of free memory; return the error message."""
    # Load everything first, because that takes memory, too.
    train_small(LocalStore(folder))
    used = read_proc_bytes("/proc/self/status", "VmData")
    old_limit = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + extra_bytes, old_limit[1]))
    try:
        train_small(LocalStore(folder), recipe=LARGE)
    except InputError as error:
        resource.setrlimit(resource.RLIMIT_DATA, old_limit)
        return str(error)
    return "nothing"


@pytest.mark.slow
def test_real_out_of_memory_error_suggests_a_batch(
    store: LocalStore, own_store: Path, own_cache: Path
) -> None:
    publish_test_pairs(store, "ttttv")
    # A process that has met its limit does not always recover, so use a child.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        message = pool.submit(train_with_little_memory, own_store, 100 << 20).result()
        assert message == (
            "tiny: out of memory: a step of batch=4 at 256 px does not fit on the CPU. Try "
            "--set batch=2, or find the largest that fits with `icanvas train tiny --find-batch`."
        )
        BatchSizeCache(LARGE, CPU).put(1)
        message = pool.submit(train_with_little_memory, own_store, 100 << 20).result()
    assert "does not fit on the CPU; 1 fitted last time (20" in message
    assert "--set batch=1, or" in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resume_or_init",
            r"the state before the first step at 64 px .* Try a smaller generator_width\.",
        ),
        ("train_step", r"a step of batch=2 at 64 px .* Try --set batch=1, or find the largest"),
        (
            "serialize_state",
            r"a checkpoint or validation after steps of batch=2 .* Try --set batch=1",
        ),
        ("validate", r"a checkpoint or validation after steps of batch=2 .* Try --set batch=1"),
    ],
)
def test_out_of_memory_error_names_the_failed_stage(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    publish_test_pairs(store, "ttttv")

    def run_out(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(import_module("model.training.loop"), name, run_out)
    with pytest.raises(InputError, match=f"tiny: out of memory: {message}"):
        train_small(store)


def test_batch_larger_than_all_steps_is_not_cached(store: LocalStore, own_cache: Path) -> None:
    publish_test_pairs(store, "ttv")
    recipe = SMALL.model_copy(update={"batch": 2, "epochs": 2})
    train_small(store, recipe=recipe.model_copy(update={"batch": 3}))
    assert BatchSizeCache(resolve_precision(recipe, CPU), CPU).get() is None
    train_small(store, recipe=recipe)
    cached = BatchSizeCache(resolve_precision(recipe, CPU), CPU).get()
    assert cached is not None
    assert cached.batch == 2


@given(
    batch=st.integers(1, 1024),
    processes=st.integers(1, 8),
    side=st.sampled_from([64, 96, 128, 200, 256]),
    cached_batch=st.none() | st.integers(1, 1024),
    in_step=st.booleans(),
)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_suggested_options_are_valid(
    own_cache: Path, batch: int, processes: int, side: int, cached_batch: int | None, in_step: bool
) -> None:
    batch = max(batch, processes)
    recipe = LARGE.model_copy(update={"batch": batch, "image_size": side})
    (own_cache / "batches.json").unlink(missing_ok=True)
    if cached_batch:
        BatchSizeCache(recipe, CPU).put(cached_batch)

    def fail() -> None:
        with OomGuard("tiny", recipe, CPU, DistributedContext(0, processes)) as guard:
            if in_step:
                with guard.step(batch):
                    raise MemoryError
            raise MemoryError

    with pytest.raises(InputError) as error:
        fail()
    advice = str(error.value).partition("Try ")[2]
    assert advice.rstrip(".")
    for value in re.findall(r"--set batch=(\d+)", advice):
        assert processes <= int(value) < batch
    for value in re.findall(r"image_size=(\d+)", advice):
        assert 64 <= int(value) < side


def test_compiled_networks_have_their_own_cache_entry() -> None:
    BatchSizeCache(LARGE, CPU, compiled=True).put(8)
    assert BatchSizeCache(LARGE, CPU).get() is None
    BatchSizeCache(LARGE, CPU).put(2)
    cached = [BatchSizeCache(LARGE, CPU, compiled).get() for compiled in (False, True)]
    assert [one.batch for one in cached if one] == [2, 8]


def test_run_caches_its_batch(store: LocalStore, own_cache: Path) -> None:
    publish_test_pairs(store, "tttt")
    train_small(store)
    cached = BatchSizeCache(resolve_precision(SMALL, CPU), CPU).get()
    assert cached is not None
    assert cached.batch == SMALL.batch
    wider = resolve_precision(SMALL, CPU).model_copy(update={"generator_width": 8})
    assert BatchSizeCache(wider, CPU).get() is None


def test_largest_batch_is_cached_until_it_fails() -> None:
    for batch in (4, 8, 2):
        BatchSizeCache(LARGE, CPU).put(batch)
    other = LARGE.model_copy(update={"image_size": 64})
    BatchSizeCache(other, CPU).put(3)

    def known(below: int | None = None) -> int | None:
        cached = BatchSizeCache(LARGE, CPU).get(below=below)
        return cached.batch if cached else None

    assert known() == known(below=9) == 8
    assert known(below=8) is None, "the entry that failed is deleted"
    assert known() is None
    cached = BatchSizeCache(other, CPU).get()
    assert cached is not None
    assert cached.batch == 3


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"the CPU": 3}'])
def test_damaged_cache_file_is_ignored(own_cache: Path, data: bytes) -> None:
    own_cache.mkdir()
    (own_cache / "batches.json").write_bytes(data)
    assert BatchSizeCache(LARGE, CPU).get() is None
    BatchSizeCache(LARGE, CPU).put(4)
    assert BatchSizeCache(LARGE, CPU).get() is not None
    assert [path.name for path in own_cache.iterdir()] == ["batches.json"]


def test_unwritable_cache_folder_is_ignored(own_cache: Path) -> None:
    own_cache.write_text("not a folder")
    BatchSizeCache(LARGE, CPU).put(4)
    assert BatchSizeCache(LARGE, CPU).get() is None


def test_other_errors_are_not_out_of_memory() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("bad_alloc"))
