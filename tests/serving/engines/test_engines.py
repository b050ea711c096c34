import numpy as np
import pytest
import torch

from config.errors import InputError, IntegrityError
from model.data.dataset import to_condition
from serving.engines import Array, GenerateFn, GeneratorEngineOptions, choose_engine, create_engine
from tests.serving.engines.conftest import RunConcurrently
from tests.serving.exports import SIDE, draw_outline, export_random_generator

NAMES = ("openvino", "onnxruntime", "torch")


def load_generator(
    name: str, seed: int = 0, options: GeneratorEngineOptions | None = None
) -> GenerateFn:
    engine = create_engine(name, options or GeneratorEngineOptions(1, 2, allow_bf16=False))
    return engine.load(getattr(export_random_generator(seed), engine.weights_format), SIDE)


def make_condition(number: int) -> Array:
    return to_condition(draw_outline(number, SIDE)).numpy()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NAMES[:2])
def test_engines_match_pytorch(name: str, seed: int) -> None:
    generate, expected = load_generator(name, seed), load_generator("torch", seed)
    for number in range(3):
        picture = generate(make_condition(number))
        assert picture.shape == (3, SIDE, SIDE)
        assert picture.dtype == np.float32
        assert np.abs(picture - expected(make_condition(number))).max() < 2e-3
    # Outputs depend on the condition.
    assert np.abs(generate(make_condition(0)) - generate(make_condition(1))).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_concurrent_calls_get_their_own_pictures(
    name: str, run_concurrently: RunConcurrently
) -> None:
    generate = load_generator(name)
    conditions = [make_condition(number) for number in range(4)] * 4
    expected = [generate(condition) for condition in conditions]
    pictures = run_concurrently(generate, conditions)
    for picture, expected_picture in zip(pictures, expected, strict=True):
        assert np.abs(picture - expected_picture).max() < 1e-4


def test_next_call_does_not_overwrite_a_picture() -> None:
    generate = load_generator("openvino", options=GeneratorEngineOptions(1, 1))
    first = generate(make_condition(0))
    copy = first.copy()
    generate(make_condition(1))
    assert np.array_equal(first, copy)


def test_bf16_is_close_to_float32() -> None:
    bf16, float32 = (
        load_generator("openvino", options=GeneratorEngineOptions(1, 1)),
        load_generator("torch"),
    )
    mean_abs_diff = np.abs(bf16(make_condition(0)) - float32(make_condition(0))).mean() * 127.5
    assert mean_abs_diff < 3


@pytest.mark.parametrize("name", NAMES)
def test_invalid_file_raises_integrity_error(name: str) -> None:
    engine = create_engine(name, GeneratorEngineOptions(1, 1))
    for data in (b"", b"not a model", export_random_generator(0).onnx[:-100]):
        with pytest.raises(IntegrityError):
            engine.load(data, SIDE)


def test_auto_chooses_the_best_installed_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_engine("auto")[0] == "openvino"
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert choose_engine("auto") == (
        "onnxruntime",
        "no GPU, and OpenVINO is not installed",
    )
    with pytest.raises(InputError, match=r"\[openvino\]"):
        choose_engine("openvino")
    with pytest.raises(InputError, match="Choose one of: auto, openvino"):
        choose_engine("magic")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_batches_match_the_cpu(run_concurrently: RunConcurrently) -> None:
    sizes: list[int] = []
    generate = load_generator(
        "torch", options=GeneratorEngineOptions(4, max_batch_size=4, on_batch=sizes.append)
    )
    float32 = load_generator("onnxruntime")
    conditions = [make_condition(number) for number in range(32)]
    pictures = run_concurrently(generate, conditions)
    for picture, condition in zip(pictures, conditions, strict=True):
        assert np.abs(picture - float32(condition)).mean() * 127.5 < 3
    assert sum(sizes) == 32
    assert 1 < max(sizes) <= 4
