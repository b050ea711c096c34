"""Compares all engines on one picture, with the default weights and border."""

import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from config.errors import InputError
from hed import EdgeDetector, choose_engine, engines
from hed.crop_plan import BORDER, CropPlan, plan_axis
from hed.engines import create_engine
from hed.engines.engine import BatchRunner, Float32Array, HedEngine
from hed.weights import HedWeights
from postprocess import clean_edges, compare_drawings
from tests.conftest import draw_scene
from tests.hed.networks import THIN_CHANNELS, detect_uncropped, make_layers, make_weights

PICTURE = draw_scene(5, 128, 128)


@pytest.fixture(scope="module")
def expected(detector: EdgeDetector) -> Float32Array:
    assert detector.weights.layers is not None
    return detect_uncropped(dict(detector.weights.layers), PICTURE, BORDER)


def detect(engine: str, weights: HedWeights, precision: str = "auto") -> tuple[str, Float32Array]:
    hed_engine = create_engine(engine, weights, precision=precision)
    return hed_engine.description, EdgeDetector(hed_engine, weights).detect([PICTURE])[0]


@pytest.mark.parametrize("engine", ["opencv", "openvino", "torch"])
def test_engines_agree_in_float32(
    engine: str, detector: EdgeDetector, expected: Float32Array
) -> None:
    title, edges = detect(engine, detector.weights, "f32")
    assert "f32" in title or "float32" in title
    assert np.abs(edges - expected).mean() < 1e-6
    assert np.abs(edges - expected).max() < 1e-4
    assert (clean_edges(edges, 0.5) == clean_edges(expected, 0.5)).mean() > 0.9999


def test_bfloat16_gives_same_lines(detector: EdgeDetector, expected: Float32Array) -> None:
    title, edges = detect("openvino", detector.weights)
    if "bf16" not in title:
        pytest.skip("this CPU does not support bfloat16")
    assert 0 < np.abs(edges - expected).mean() < 2e-3
    agreement = compare_drawings(clean_edges(edges, 0.5), clean_edges(expected, 0.5), 1)
    assert agreement.f1 > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_torch_in_16_bits_gives_same_lines(
    detector: EdgeDetector, expected: Float32Array, kind: torch.dtype
) -> None:
    """Runs the GPU's precision on the CPU."""
    from hed.engines.torch import _create_on_device

    engine = _create_on_device("cpu", kind, detector.weights, 1, 1)
    edges = EdgeDetector(engine, detector.weights).detect([PICTURE])[0]
    assert 0 < np.abs(edges - expected).mean() < 2e-3
    agreement = compare_drawings(clean_edges(edges, 0.5), clean_edges(expected, 0.5), 1)
    assert agreement.f1 > 0.99


def test_batches_equal_single_pictures() -> None:
    from hed.engines.torch import _create_on_device

    weights = make_weights(make_layers(0, THIN_CHANNELS))
    pictures = [draw_scene(seed, 40, 40 + 32 * (seed % 3 == 2)) for seed in range(11)]
    single_detector, batch_detector = (
        EdgeDetector(_create_on_device("cpu", torch.float32, weights, 2, size), weights, border=16)
        for size in (1, 4)
    )
    for single, batched in zip(
        single_detector.detect(pictures), batch_detector.detect(pictures), strict=True
    ):
        np.testing.assert_allclose(single, batched, atol=1e-6)


@pytest.mark.parametrize("engine", ["opencv", "openvino", "torch"])
def test_engine_is_thread_safe(engine: str) -> None:
    weights = make_weights(make_layers(0, THIN_CHANNELS))
    hed = EdgeDetector(create_engine(engine, weights, workers=3), weights, border=8)
    pictures = [draw_scene(seed, 33 + seed, 40) for seed in range(12)]
    expected = [hed.detect([picture])[0] for picture in pictures]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda picture: hed.detect([picture])[0], pictures * 4))
    for edges, expected_edges in zip(results, expected * 4, strict=True):
        np.testing.assert_allclose(edges, expected_edges, atol=1e-5)


def test_auto_chooses_fastest_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_GPU_DEVICE_PATTERNS", ())
    monkeypatch.setattr(
        torch.cuda, "is_available", lambda: pytest.fail("PyTorch was queried without a GPU device")
    )
    assert choose_engine("auto") == ("openvino", "there is no GPU, and OpenVINO is installed")
    # A device exists, but PyTorch cannot use it.
    monkeypatch.setattr(engines, "_GPU_DEVICE_PATTERNS", ("none", "null"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_engine("auto") == ("openvino", "there is no GPU, and OpenVINO is installed")
    monkeypatch.setattr(engines, "_is_installed", lambda _: False)
    assert choose_engine("auto")[0] == "opencv"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert choose_engine("auto") == ("torch", "there is a GPU, a GPU")
    custom = HedWeights(format="onnx", digest="", threshold=None, layers=None, model=b"")
    engine, reason = choose_engine("auto", custom)
    assert engine == "opencv"
    assert "PyTorch does not run ONNX networks" in reason


def test_missing_engine_error_names_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else find_spec(name)
    )
    with pytest.raises(InputError, match=r"pip install .* '\.\[openvino\]'"):
        choose_engine("openvino")
    with pytest.raises(InputError, match="auto, opencv, openvino, torch"):
        choose_engine("magic")
    with pytest.raises(InputError, match="auto or f32"):
        create_engine("opencv", make_weights(make_layers(0, THIN_CHANNELS)), precision="f8")


def test_torch_rejects_custom_network() -> None:
    custom = HedWeights(format="onnx", digest="", threshold=None, layers=None, model=b"")
    with pytest.raises(InputError, match="--engine opencv or openvino"):
        create_engine("torch", custom)


def test_networks_run_concurrently_and_errors_propagate() -> None:
    barrier = threading.Barrier(2, timeout=20)

    def make_runner(plan: CropPlan) -> BatchRunner:
        def run(batch: Float32Array) -> Float32Array:
            barrier.wait()
            if batch[0, 0, 0, 0] < 0:
                raise ValueError("test failure")
            return batch[:, 0]

        return run

    engine = HedEngine("two", make_runner, workers=2)
    plan = CropPlan(plan_axis(32, 0), plan_axis(32, 0))
    succeeding = engine.submit(np.zeros((1, 3, 32, 32), np.float32), plan)
    failing = engine.submit(np.full((1, 3, 32, 32), -1, np.float32), plan)
    assert succeeding.result().shape == (1, 32, 32)
    with pytest.raises(ValueError, match="test failure"):
        failing.result()


def test_out_of_memory_splits_batch_into_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import hed.engines.torch as module

    original_forward = module._forward

    def forward(layers: Any, pictures: torch.Tensor, plan: CropPlan) -> torch.Tensor:
        if len(pictures) > limit:
            raise torch.OutOfMemoryError
        return original_forward(layers, pictures, plan)

    weights = make_weights(make_layers(0, THIN_CHANNELS))
    pictures = [draw_scene(seed, 40, 40) for seed in range(4)]
    hed = EdgeDetector(
        module._create_on_device("cpu", torch.float32, weights, 1, 4), weights, border=16
    )
    limit = 4
    expected = hed.detect(pictures)
    monkeypatch.setattr(module, "_forward", forward)
    limit = 1
    for edges, expected_edges in zip(hed.detect(pictures), expected, strict=True):
        np.testing.assert_allclose(edges, expected_edges, atol=1e-6)
    limit = 0
    with pytest.raises(InputError, match=r"96×96 px.*edges\.scale"):
        hed.detect(pictures)
