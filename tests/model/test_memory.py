"""Memory that truly runs out, and what is remembered of when it did not."""

import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from errors import InputError
from model import Recipe
from model.batches import read_kib
from model.device import settle_precision
from model.memory import is_out_of_memory, recall_batch, remember_batch
from storage import LocalStore
from tests.model.pairs import publish
from tests.model.test_train import CPU, SMALL, run_small

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
        found = recall_batch(LARGE, CPU, below)
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
