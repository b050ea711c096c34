"""Every engine on the same picture, with the real network and the usual border."""

import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from config.errors import InputError
from hed import EdgeDetector, choose_engine, engines
from hed.crop_plan import BORDER, Plan, plan_axis
from hed.engines import create_engine
from hed.engines.engine import Engine, Map, Runner
from hed.weights import Weights
from postprocess import clean_edges, compare_drawings
from tests.conftest import draw_scene
from tests.hed.networks import THIN, as_weights, detect_whole, make_layers

PICTURE = draw_scene(5, 128, 128)


@pytest.fixture(scope="module")
def expected(detector: EdgeDetector) -> Map:
    assert detector.weights.layers is not None
    return detect_whole(dict(detector.weights.layers), PICTURE, BORDER)


def detect(engine: str, weights: Weights, precision: str = "auto") -> tuple[str, Map]:
    running = create_engine(engine, weights, precision=precision)
    return running.title, EdgeDetector(running, weights).detect([PICTURE])[0]


@pytest.mark.parametrize("engine", ["opencv", "openvino", "torch"])
def test_engines_agree_in_single_precision(
    engine: str, detector: EdgeDetector, expected: Map
) -> None:
    title, edges = detect(engine, detector.weights, "f32")
    assert "f32" in title or "float32" in title
    assert np.abs(edges - expected).mean() < 1e-6
    assert np.abs(edges - expected).max() < 1e-4
    assert (clean_edges(edges, 0.5) == clean_edges(expected, 0.5)).mean() > 0.9999


def test_sixteen_bits_draw_the_same_lines(detector: EdgeDetector, expected: Map) -> None:
    title, edges = detect("openvino", detector.weights)
    if "bf16" not in title:
        pytest.skip("this CPU does not compute in bfloat16")
    assert 0 < np.abs(edges - expected).mean() < 2e-3
    agreement = compare_drawings(clean_edges(edges, 0.5), clean_edges(expected, 0.5), 1)
    assert agreement.f1 > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_torch_in_sixteen_bits_draws_the_same_lines(
    detector: EdgeDetector, expected: Map, kind: torch.dtype
) -> None:
    """What a GPU does, done on the CPU."""
    from hed.engines.torch import _create_on

    engine = _create_on("cpu", kind, detector.weights, 1, 1)
    edges = EdgeDetector(engine, detector.weights).detect([PICTURE])[0]
    assert 0 < np.abs(edges - expected).mean() < 2e-3
    agreement = compare_drawings(clean_edges(edges, 0.5), clean_edges(expected, 0.5), 1)
    assert agreement.f1 > 0.99


def test_batches_give_what_single_pictures_give() -> None:
    from hed.engines.torch import _create_on

    weights = as_weights(make_layers(0, THIN))
    pictures = [draw_scene(seed, 40, 40 + 32 * (seed % 3 == 2)) for seed in range(11)]
    one, four = (
        EdgeDetector(_create_on("cpu", torch.float32, weights, 2, size), weights, border=16)
        for size in (1, 4)
    )
    for single, batched in zip(one.detect(pictures), four.detect(pictures), strict=True):
        np.testing.assert_allclose(single, batched, atol=1e-6)


@pytest.mark.parametrize("engine", ["opencv", "openvino", "torch"])
def test_many_threads_share_an_engine(engine: str) -> None:
    weights = as_weights(make_layers(0, THIN))
    hed = EdgeDetector(create_engine(engine, weights, workers=3), weights, border=8)
    pictures = [draw_scene(seed, 33 + seed, 40) for seed in range(12)]
    expected = [hed.detect([picture])[0] for picture in pictures]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda picture: hed.detect([picture])[0], pictures * 4))
    for edges, wanted in zip(found, expected * 4, strict=True):
        np.testing.assert_allclose(edges, wanted, atol=1e-5)


def test_auto_takes_the_quickest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_DEVICES", ())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("it was asked for nothing"))
    assert choose_engine("auto") == ("openvino", "there is no GPU, and OpenVINO is installed")
    # There is a driver, but not for PyTorch.
    monkeypatch.setattr(engines, "_DEVICES", ("none", "null"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_engine("auto") == ("openvino", "there is no GPU, and OpenVINO is installed")
    monkeypatch.setattr(engines, "_is_installed", lambda _: False)
    assert choose_engine("auto")[0] == "opencv"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    assert choose_engine("auto") == ("torch", "there is a GPU, a GPU")
    own = Weights(form="onnx", digest="", threshold=None, layers=None, model=b"")
    taken, why = choose_engine("auto", own)
    assert taken == "opencv"
    assert "PyTorch runs no ONNX file" in why


def test_a_missing_engine_names_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else find_spec(name)
    )
    with pytest.raises(InputError, match=r"pip install .* '\.\[openvino\]'"):
        choose_engine("openvino")
    with pytest.raises(InputError, match="auto, opencv, openvino, torch"):
        choose_engine("magic")
    with pytest.raises(InputError, match="auto or f32"):
        create_engine("opencv", as_weights(make_layers(0, THIN)), precision="f8")


def test_torch_takes_no_network_of_ones_own() -> None:
    own = Weights(form="onnx", digest="", threshold=None, layers=None, model=b"")
    with pytest.raises(InputError, match="--engine opencv or openvino"):
        create_engine("torch", own)


def test_networks_run_at_once_and_their_errors_arrive() -> None:
    together = threading.Barrier(2, timeout=20)

    def make_runner(plan: Plan) -> Runner:
        def run(batch: Map) -> Map:
            together.wait()
            if batch[0, 0, 0, 0] < 0:
                raise ValueError("no luck")
            return batch[:, 0]

        return run

    engine = Engine("two", make_runner, workers=2)
    plan = Plan(plan_axis(32, 0), plan_axis(32, 0))
    good = engine.submit(np.zeros((1, 3, 32, 32), np.float32), plan)
    bad = engine.submit(np.full((1, 3, 32, 32), -1, np.float32), plan)
    assert good.result().shape == (1, 32, 32)
    with pytest.raises(ValueError, match="no luck"):
        bad.result()


def test_where_memory_ends_a_batch_is_halved_into_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import hed.engines.torch as module

    real = module._forward

    def forward(layers: Any, pictures: torch.Tensor, plan: Plan) -> torch.Tensor:
        if len(pictures) > limit:
            raise torch.OutOfMemoryError
        return real(layers, pictures, plan)

    weights = as_weights(make_layers(0, THIN))
    pictures = [draw_scene(seed, 40, 40) for seed in range(4)]
    hed = EdgeDetector(module._create_on("cpu", torch.float32, weights, 1, 4), weights, border=16)
    limit = 4
    expected = hed.detect(pictures)
    monkeypatch.setattr(module, "_forward", forward)
    limit = 1
    for found, wanted in zip(hed.detect(pictures), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    limit = 0
    with pytest.raises(InputError, match=r"96×96 px.*edges\.scale"):
        hed.detect(pictures)
