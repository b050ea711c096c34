"""What the loop makes of what its loaders and its hooks say."""

from collections.abc import Iterator

import pytest
from torch._utils import ExceptionWrapper

from errors import DamagedError
from model.data import Sample
from model.hooks import Hooks, TrainingStopped
from model.loop import read_batch
from model.recipe import make_recipe
from model.train import train
from storage import LocalStore
from tests.model.pairs import publish


def fail_as_a_worker_does(text: str) -> Iterator[Sample]:
    try:
        raise DamagedError(text)
    except DamagedError:
        worker = ExceptionWrapper(where="in DataLoader worker process 0")  # type: ignore[no-untyped-call]
        worker.reraise()  # type: ignore[no-untyped-call]
    yield from ()


def test_an_error_of_a_loaders_process_is_one_line() -> None:
    text = "A pair is damaged: DamagedBits at 7. Make it anew."
    with pytest.raises(DamagedError) as told:
        read_batch(fail_as_a_worker_does(text))
    assert str(told.value) == text


def test_tracing_can_be_stopped(store: LocalStore) -> None:
    publish(store, "tttv")
    recipe = make_recipe({}, {"image_size": 64, "generator_width": 4, "augment": 1})
    steps: list[int] = []
    hooks = Hooks(on_step=lambda done, _: steps.append(done), should_stop=lambda: True)
    with pytest.raises(TrainingStopped):
        train(store, "tiny", "pairs", recipe, hooks=hooks)
    assert not steps
    assert list(store.list("datasets/tiny/pairs/pairs/strokes-1")), "what was traced is kept"
