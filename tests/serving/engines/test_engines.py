import numpy as np
import pytest
import torch

from config.errors import InputError, IntegrityError
from model.data.dataset import to_condition
from serving.engines import Array, GenerateFn, GeneratorEngineOptions, choose_engine, create_engine
from tests.serving.engines.conftest import RunConcurrently
from tests.serving.exports import SIDE, draw_outline, export_random_generator

NAMES = ("openvino", "onnxruntime", "torch")


def load_generator(name: str, seed: int = 0, options: GeneratorEngineOptions | None = None) -> GenerateFn:
    engine = create_engine(name, options or GeneratorEngineOptions(1, 2, allow_bf16=False))
    return engine.load(getattr(export_random_generator(seed), engine.weights_format), SIDE)


def make_condition(number: int) -> Array:
    return to_condition(draw_outline(number, SIDE)).numpy()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NAMES[:2])
def test_engines_draw_what_torch_draws(name: str, seed: int) -> None:
    drawn, expected = load_generator(name, seed), load_generator("torch", seed)
    for number in range(3):
        found = drawn(make_condition(number))
        assert found.shape == (3, SIDE, SIDE)
        assert found.dtype == np.float32
        assert np.abs(found - expected(make_condition(number))).max() < 2e-3
    # Which would be so of a network that draws always the same.
    assert np.abs(drawn(make_condition(0)) - drawn(make_condition(1))).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_threads_at_once_get_their_own_pictures(name: str, together: RunConcurrently) -> None:
    drawn = load_generator(name)
    conditions = [make_condition(number) for number in range(4)] * 4
    expected = [drawn(one) for one in conditions]
    for found, one in zip(together(drawn, conditions), expected, strict=True):
        assert np.abs(found - one).max() < 1e-4


def test_what_is_drawn_stays_when_the_next_is_drawn() -> None:
    drawn = load_generator("openvino", options=GeneratorEngineOptions(1, 1))
    first = drawn(make_condition(0))
    before = first.copy()
    drawn(make_condition(1))
    assert np.array_equal(first, before)


def test_fast_is_near_enough_where_there_is_bf16() -> None:
    fast, exact = load_generator("openvino", options=GeneratorEngineOptions(1, 1)), load_generator("torch")
    apart = np.abs(fast(make_condition(0)) - exact(make_condition(0))).mean() * 127.5
    assert apart < 3


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_generator_is_refused(name: str) -> None:
    engine = create_engine(name, GeneratorEngineOptions(1, 1))
    for wrong in (b"", b"no network", export_random_generator(0).onnx[:-100]):
        with pytest.raises(IntegrityError):
            engine.load(wrong, SIDE)


def test_the_best_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_engine("auto")[0] == "openvino"
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert choose_engine("auto") == (
        "onnxruntime",
        "there is no GPU, and OpenVINO is not installed",
    )
    with pytest.raises(InputError, match=r"\[openvino\]"):
        choose_engine("openvino")
    with pytest.raises(InputError, match="Choose one of: auto, openvino"):
        choose_engine("magic")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_draws_in_batches_what_the_cpu_draws(together: RunConcurrently) -> None:
    sizes: list[int] = []
    drawn = load_generator("torch", options=GeneratorEngineOptions(4, max_batch_size=4, on_batch=sizes.append))
    exact = load_generator("onnxruntime")
    conditions = [make_condition(number) for number in range(32)]
    for found, one in zip(together(drawn, conditions), conditions, strict=True):
        assert np.abs(found - exact(one)).mean() * 127.5 < 3
    assert sum(sizes) == 32
    assert 1 < max(sizes) <= 4
