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
from model.device import settle_precision
from model.training.batch_size_finder import read_kib
from model.training.distributed import Crew
from model.training.memory import MemoryWatch, is_out_of_memory, recall_batch, remember_batch
from storage import LocalStore
from tests.model.pairs import publish
from tests.model.training.test_train import CPU, SMALL, run_small

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
    run_small(LocalStore(folder))
    used = read_kib("/proc/self/status", "VmData")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + more, before[1]))
    try:
        run_small(LocalStore(folder), recipe=LARGE)
    except InputError as error:
        resource.setrlimit(resource.RLIMIT_DATA, before)
        return str(error)
    return "nothing"


@pytest.mark.slow
def test_what_does_not_fit_is_told_with_what_did(
    store: LocalStore, own_store: Path, own_cache: Path
) -> None:
    publish(store, "ttttv")
    # Of its own: what has once met the limit does not always recover.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        told = pool.submit(starve, own_store, 100 << 20).result()
        assert told == (
            "tiny: out of memory: a step of batch=4 at 256 px does not fit on the CPU. Try "
            "--set batch=2, or `icanvas train tiny --find-batch` to find the largest that fits."
        )
        remember_batch(LARGE, CPU, 1)
        told = pool.submit(starve, own_store, 100 << 20).result()
    assert "does not fit on the CPU; 1 fitted last time (20" in told
    assert "--set batch=1, or" in told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("take_up", r"its state without any step at 64 px .* Try a smaller generator_width\."),
        ("train_step", r"a step of batch=2 at 64 px .* Try --set batch=1, or `icanvas train tiny"),
        ("save_state", r"a checkpoint or validation beside steps of batch=2 .* Try --set batch=1"),
        ("validate", r"a checkpoint or validation beside steps of batch=2 .* Try --set batch=1"),
    ],
)
def test_memory_that_runs_out_anywhere_is_explained(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    publish(store, "ttttv")

    def run_out(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(import_module("model.training.loop"), name, run_out)
    with pytest.raises(InputError, match=f"tiny: out of memory: {told}"):
        run_small(store)


def test_a_batch_that_no_step_was_as_large_as_is_not_remembered(
    store: LocalStore, own_cache: Path
) -> None:
    publish(store, "ttv")
    whole = SMALL.model_copy(update={"batch": 2, "epochs": 2})
    run_small(store, recipe=whole.model_copy(update={"batch": 3}))
    assert recall_batch(settle_precision(whole, CPU), CPU) is None
    run_small(store, recipe=whole)
    fit = recall_batch(settle_precision(whole, CPU), CPU)
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
        remember_batch(recipe, CPU, fitted)

    def fail() -> None:
        with MemoryWatch("tiny", recipe, CPU, Crew(0, processes)) as watch:
            if stepping:
                with watch.step(batch):
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
    remember_batch(LARGE, CPU, 8, compiled=True)
    assert recall_batch(LARGE, CPU) is None
    remember_batch(LARGE, CPU, 2)
    found = [recall_batch(LARGE, CPU, compiled) for compiled in (False, True)]
    assert [one.batch for one in found if one] == [2, 8]


def test_a_run_remembers_what_fitted(store: LocalStore, own_cache: Path) -> None:
    publish(store, "tttt")
    run_small(store)
    found = recall_batch(settle_precision(SMALL, CPU), CPU)
    assert found is not None
    assert found.batch == SMALL.batch
    wider = settle_precision(SMALL, CPU).model_copy(update={"generator_width": 8})
    assert recall_batch(wider, CPU) is None


def test_the_largest_is_remembered_until_it_does_not_fit() -> None:
    for batch in (4, 8, 2):
        remember_batch(LARGE, CPU, batch)
    other = LARGE.model_copy(update={"image_size": 64})
    remember_batch(other, CPU, 3)

    def known(below: int | None = None) -> int | None:
        found = recall_batch(LARGE, CPU, below=below)
        return found.batch if found else None

    assert known() == known(below=9) == 8
    assert known(below=8) is None, "somebody else has the memory now"
    assert known() is None
    found = recall_batch(other, CPU)
    assert found is not None
    assert found.batch == 3


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"the CPU": 3}'])
def test_a_spoilt_memory_is_an_empty_one(own_cache: Path, data: bytes) -> None:
    own_cache.mkdir()
    (own_cache / "batches.json").write_bytes(data)
    assert recall_batch(LARGE, CPU) is None
    remember_batch(LARGE, CPU, 4)
    assert recall_batch(LARGE, CPU) is not None
    assert [path.name for path in own_cache.iterdir()] == ["batches.json"]


def test_without_a_place_nothing_is_remembered(own_cache: Path) -> None:
    own_cache.write_text("not a folder")
    remember_batch(LARGE, CPU, 4)
    assert recall_batch(LARGE, CPU) is None


def test_other_errors_stay_what_they_are() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("bad_alloc"))
