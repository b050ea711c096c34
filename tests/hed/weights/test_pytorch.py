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
from tests.hed.networks import THIN, Layers, make_layers, run_controlnet
from tests.hed.weights import files
from tests.hed.weights.conftest import Refuse


@pytest.mark.parametrize("name", ["network.pytorch", "older.pytorch"])
def test_the_conversion_of_the_authors_weights_is_read(
    name: str, forms: dict[str, Path], layers: Layers
) -> None:
    weights = load_weights(forms[name])
    assert (weights.form, weights.threshold) == ("pytorch", 25 / 255)
    assert weights.mean == (104.00698793, 116.66876762, 122.67891434)
    assert weights.layers is not None
    for layer, (kernel, bias) in layers.items():
        assert (weights.layers[layer][0] == kernel).all()
        assert (weights.layers[layer][1] == bias).all()


def test_a_state_within_a_checkpoint_is_read(layers: Layers, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(files.write_torch({"epoch": 3, "state_dict": files.niklaus_state(layers)}))
    assert load_weights(path).form == "pytorch"


def test_controlnet_is_its_published_network(forms: dict[str, Path], layers: Layers) -> None:
    weights = load_weights(forms["ControlNetHED.pth"])
    assert (weights.form, weights.threshold) == ("controlnet", None)
    assert weights.mean == (104.75, 117.25, 123.5)
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (1, 3, 64, 96)).astype(np.float32)
    expected = run_controlnet(files.controlnet_state(layers, torch.float16), rgb)
    # Its own network has no border, and pads with zeros at the picture's edge as ours does.
    graph = np.frombuffer(weights.graph(weights.plan(64, 96, 0)), np.uint8)
    net = cv2.dnn.readNetFromONNX(graph, engine=cv2.dnn.ENGINE_CLASSIC)
    bgr = rgb[:, ::-1] - np.array(weights.mean, np.float32).reshape(1, 3, 1, 1)
    net.setInput(np.ascontiguousarray(bgr))
    assert expected.std() > 0.02, "the network tells nothing"
    assert np.abs(net.forward()[0, 0] - expected).max() < 1e-5


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def zip_with(pickled: bytes, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def dump_2(trap: object) -> bytes:
    return pickle.dumps(trap, protocol=2)


def dump_4(trap: object) -> bytes:
    return pickle.dumps(trap, protocol=4)


def zip_by_hand(trap: object) -> bytes:
    return zip_with(dump_2(trap))


def save_zip(trap: object) -> bytes:
    return files.write_torch(trap)


def save_legacy(trap: object) -> bytes:
    return files.write_torch(trap, legacy=True)


def load_all(content: bytes) -> object:
    return torch.load(io.BytesIO(content), weights_only=False)


@pytest.mark.parametrize("wrap", [dump_2, dump_4, zip_by_hand, save_zip, save_legacy])
def test_no_code_in_a_file_is_run(
    wrap: Callable[[Any], bytes], refuse: Refuse, tmp_path: Path
) -> None:
    folder = tmp_path / "was-run"
    content = wrap({"state_dict": Trap(folder)})
    spring = pickle.loads if wrap in (dump_2, dump_4) else load_all
    spring(content)
    assert folder.exists(), "the trap is no trap"
    folder.rmdir()
    line = refuse(content, "network.pytorch")
    assert not folder.exists()
    assert "could run code" in line
    assert "weights_only" not in line
    assert "torch.load" not in line


def test_whole_modules_are_refused(refuse: Refuse) -> None:
    content = files.write_torch(torch.nn.Conv2d(1, 1, 1))
    assert "save a state_dict()" in refuse(content, "module.pth")


def test_archives_that_unfold_are_refused(refuse: Refuse) -> None:
    pickled = pickle.dumps({"state_dict": bytes(50_000_000)}, protocol=2)
    bomb = zip_with(pickled, compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    assert "compressed archive" in refuse(bomb, "bomb.pth")


def test_archives_that_declare_more_than_they_hold_are_refused(refuse: Refuse) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
        archive.filelist[0].file_size = 1 << 40
    assert "compressed archive" in refuse(buffer.getvalue(), "bomb.pth")


def test_tensors_that_unfold_are_not_copied(refuse: Refuse) -> None:
    """One number stored, 2^50 declared."""
    state = {"netVggOne.0.weight": torch.zeros(1).expand(1 << 25, 1 << 25, 3, 3)}
    state["netVggOne.0.bias"] = torch.zeros(64)
    for legacy in (False, True):
        line = refuse(files.write_torch(state, legacy=legacy), "wide.pth")
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
def test_what_is_no_plain_tensor_is_refused(value: object, refuse: Refuse) -> None:
    state = {"netVggOne.0.weight": value, "netVggOne.0.bias": torch.zeros(64)}
    assert "conv1_1 is no plain tensor" in refuse(files.write_torch(state), "odd.pth")


def test_other_networks_are_told(refuse: Refuse) -> None:
    other = {"features.0.weight": torch.zeros(64, 3, 3, 3)}
    assert "none of the known ways" in refuse(files.write_torch(other), "vgg.pth")
    assert "hold a list" in refuse(files.write_torch([1, 2]), "list.pth")
    thin = make_layers(0, THIN)
    line = refuse(files.write_torch(files.controlnet_state(thin)), "thin.pth")
    assert "kernel of conv1_1 is 4×3×3×3, and HED's is 64×3×3×3" in line


def test_a_missing_layer_is_named(layers: Layers, refuse: Refuse) -> None:
    state = files.niklaus_state(layers)
    del state["netScoreThr.bias"]
    assert "lack the layer dsn3" in refuse(files.write_torch(state), "part.pth")


@pytest.mark.parametrize("norm", [torch.zeros(3), torch.full((1, 3, 1, 1), torch.nan)])
def test_a_norm_that_is_not_one_is_told(norm: torch.Tensor, refuse: Refuse) -> None:
    state = {"norm": norm, "block1.projection.weight": torch.zeros(1, 64, 1, 1)}
    assert "norm is not the three finite numbers" in refuse(files.write_torch(state), "norm.pth")
