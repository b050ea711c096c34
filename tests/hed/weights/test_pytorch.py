import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from hed.weights import load_weights
from tests.hed.networks import THIN_CHANNELS, Layers, make_layers, run_controlnet
from tests.hed.weights import files
from tests.hed.weights.conftest import LoadError


@pytest.mark.parametrize("name", ["network.pytorch", "older.pytorch"])
def test_conversion_of_authors_weights_is_read(
    name: str, weights_files: dict[str, Path], layers: Layers
) -> None:
    weights = load_weights(weights_files[name])
    assert (weights.format, weights.threshold) == ("pytorch", 25 / 255)
    assert weights.mean == (104.00698793, 116.66876762, 122.67891434)
    assert weights.layers is not None
    for layer, (kernel, bias) in layers.items():
        assert (weights.layers[layer][0] == kernel).all()
        assert (weights.layers[layer][1] == bias).all()


def test_state_dict_in_checkpoint_is_read(layers: Layers, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(files.write_torch({"epoch": 3, "state_dict": files.niklaus_state(layers)}))
    assert load_weights(path).format == "pytorch"


def test_controlnet_equals_reference_network(
    weights_files: dict[str, Path], layers: Layers
) -> None:
    weights = load_weights(weights_files["ControlNetHED.pth"])
    assert (weights.format, weights.threshold) == ("controlnet", None)
    assert weights.mean == (104.75, 117.25, 123.5)
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (1, 3, 64, 96)).astype(np.float32)
    expected = run_controlnet(files.controlnet_state(layers, torch.float16), rgb)
    # ControlNet's network has no border and pads with zeros at the picture's edge, as ours does.
    graph = np.frombuffer(weights.build_onnx(weights.plan_crop(64, 96, 0)), np.uint8)
    net = cv2.dnn.readNetFromONNX(graph, engine=cv2.dnn.ENGINE_CLASSIC)
    bgr = rgb[:, ::-1] - np.array(weights.mean, np.float32).reshape(1, 3, 1, 1)
    net.setInput(np.ascontiguousarray(bgr))
    assert expected.std() > 0.02, "the reference output is constant"
    assert np.abs(net.forward()[0, 0] - expected).max() < 1e-5


class CodeOnUnpickle:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def make_zip(pickled: bytes, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def pickle_protocol_2(payload: object) -> bytes:
    return pickle.dumps(payload, protocol=2)


def pickle_protocol_4(payload: object) -> bytes:
    return pickle.dumps(payload, protocol=4)


def zip_pickle(payload: object) -> bytes:
    return make_zip(pickle_protocol_2(payload))


def save_zip(payload: object) -> bytes:
    return files.write_torch(payload)


def save_legacy(payload: object) -> bytes:
    return files.write_torch(payload, legacy=True)


def load_unsafely(content: bytes) -> object:
    return torch.load(io.BytesIO(content), weights_only=False)


@pytest.mark.parametrize(
    "wrap", [pickle_protocol_2, pickle_protocol_4, zip_pickle, save_zip, save_legacy]
)
def test_code_in_file_is_not_run(
    wrap: Callable[[Any], bytes], error_for: LoadError, tmp_path: Path
) -> None:
    folder = tmp_path / "was-run"
    content = wrap({"state_dict": CodeOnUnpickle(folder)})
    run_payload = pickle.loads if wrap in (pickle_protocol_2, pickle_protocol_4) else load_unsafely
    run_payload(content)
    assert folder.exists(), "unpickling does not run the code"
    folder.rmdir()
    line = error_for(content, "network.pytorch")
    assert not folder.exists()
    assert "could run code" in line
    assert "weights_only" not in line
    assert "torch.load" not in line


def test_pickled_module_is_rejected(error_for: LoadError) -> None:
    content = files.write_torch(torch.nn.Conv2d(1, 1, 1))
    assert "save a state_dict()" in error_for(content, "module.pth")


def test_compressed_archive_is_rejected(error_for: LoadError) -> None:
    pickled = pickle.dumps({"state_dict": bytes(50_000_000)}, protocol=2)
    bomb = make_zip(pickled, compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    assert "compressed archive" in error_for(bomb, "bomb.pth")


def test_archive_with_false_size_is_rejected(error_for: LoadError) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.filelist[0].file_size = 1 << 40
    assert "compressed archive" in error_for(buffer.getvalue(), "bomb.pth")


def test_expanded_tensor_is_not_copied(error_for: LoadError) -> None:
    """The file stores one number and declares 2^50."""
    state = {"netVggOne.0.weight": torch.zeros(1).expand(1 << 25, 1 << 25, 3, 3)}
    state["netVggOne.0.bias"] = torch.zeros(64)
    for legacy in (False, True):
        line = error_for(files.write_torch(state, legacy=legacy), "wide.pth")
        assert "kernel of conv1_1 is 33554432×33554432×3×3" in line


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(64, 3, 3, 3, dtype=torch.int32),
        torch.zeros(64, 3, 3, 3).to_sparse(),
        torch.zeros(64, 3, 3, 3, device="meta"),
        [0.0],
    ],
    ids=["int32", "sparse", "meta", "list"],
)
def test_other_than_dense_float_tensor_is_rejected(value: object, error_for: LoadError) -> None:
    state = {"netVggOne.0.weight": value, "netVggOne.0.bias": torch.zeros(64)}
    assert "conv1_1 is not a dense floating-point tensor" in error_for(
        files.write_torch(state), "odd.pth"
    )


def test_other_network_is_rejected(error_for: LoadError) -> None:
    other = {"features.0.weight": torch.zeros(64, 3, 3, 3)}
    assert "unknown layer names" in error_for(files.write_torch(other), "vgg.pth")
    assert "contain a list" in error_for(files.write_torch([1, 2]), "list.pth")
    thin = make_layers(0, THIN_CHANNELS)
    line = error_for(files.write_torch(files.controlnet_state(thin)), "thin.pth")
    assert "kernel of conv1_1 is 4×3×3×3, and HED's is 64×3×3×3" in line


def test_missing_layer_error_names_layer(layers: Layers, error_for: LoadError) -> None:
    state = files.niklaus_state(layers)
    del state["netScoreThr.bias"]
    assert "lack the layer dsn3" in error_for(files.write_torch(state), "part.pth")


@pytest.mark.parametrize("norm", [torch.zeros(3), torch.full((1, 3, 1, 1), torch.nan)])
def test_invalid_norm_is_rejected(norm: torch.Tensor, error_for: LoadError) -> None:
    state = {"norm": norm, "block1.projection.weight": torch.zeros(1, 64, 1, 1)}
    assert "norm must be three finite numbers" in error_for(files.write_torch(state), "norm.pth")
