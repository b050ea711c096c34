"""The authors' form: how it is read, and that its network is ours."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from hed.crop_plan import Plan, plan_axis
from hed.graph import build_graph
from hed.weights import load_weights
from tests.hed.networks import (
    THIN,
    Layers,
    Map,
    bilinear_kernel,
    make_layers,
    make_picture,
    reflect,
    run_caffe,
    run_same,
)
from tests.hed.weights import files
from tests.hed.weights.conftest import Refuse


@pytest.mark.parametrize("name", ["hed.caffemodel", "first.caffemodel"])
def test_both_forms_of_layers_are_read(name: str, forms: dict[str, Path], layers: Layers) -> None:
    weights = load_weights(forms[name])
    assert (weights.form, weights.threshold) == ("caffe", 25 / 255)
    assert weights.layers is not None
    assert set(weights.layers) == set(layers)
    for layer, (kernel, bias) in layers.items():
        assert (weights.layers[layer][0] == kernel).all()
        assert (weights.layers[layer][1] == bias).all()


def test_numbers_may_come_in_several_runs() -> None:
    """A packed field may be split, and a reader must join it."""
    from hed.weights.caffe import _make_message_class, _read

    runs = [np.array([1, 2], "<f4").tobytes(), np.array([3], "<f4").tobytes()]
    blob = _make_message_class("BlobProto")()
    blob.ParseFromString(b"".join(files._chunk(5, run) for run in runs))
    assert _read(blob, (3,), "conv1_1", Path("file")).tolist() == [1, 2, 3]


def test_files_without_upsampling_are_taken(layers: Layers, tmp_path: Path) -> None:
    path = tmp_path / "bare.caffemodel"
    path.write_bytes(files.write_caffe(layers, upsampling={}))
    assert load_weights(path).layers is not None


@pytest.mark.parametrize(
    "kernel",
    [
        bilinear_kernel(4) + np.float32(0.01),
        np.full((1, 1, 8, 8), np.nan, np.float32),
        bilinear_kernel(8),
    ],
)
def test_another_upsampling_is_refused(kernel: Map, refuse: Refuse) -> None:
    thin = make_layers(0, THIN)
    upsampling = {4: kernel}
    # The upsampling comes first, so that these small layers are never reached.
    content = files.write_caffe({}, upsampling=upsampling) + files.write_caffe(thin)
    assert "upsample_4 is not the bilinear upsampling" in refuse(content, "hed.caffemodel")


def test_layers_of_other_shapes_are_named(refuse: Refuse) -> None:
    for first in (False, True):
        thin = files.write_caffe(make_layers(0, THIN), first=first)
        line = refuse(thin, "hed.caffemodel")
        assert "kernel of conv1_1 is 4×3×3×3, and HED's is 64×3×3×3" in line


def test_a_layer_without_its_bias_or_numbers_is_named(refuse: Refuse) -> None:
    kernel = np.zeros((64, 3, 3, 3), np.float32)
    lone = {"conv1_1": (kernel,)}
    assert "conv1_1 holds 1 array(s)" in refuse(
        files.write_caffe(lone),  # type: ignore[arg-type]
        "hed.caffemodel",
    )
    shape = files._chunk(7, files._chunk(1, bytes([64])))
    bias = files._chunk(7, files._chunk(5, bytes(4 * 63)) + shape)
    whole = files._chunk(1, b"conv1_1") + files._chunk(7, files._blob(kernel, False)) + bias
    line = refuse(files._chunk(100, whole), "hed.caffemodel")
    assert "conv1_1 declares 64 numbers and holds 252 bytes" in line


def test_a_missing_layer_is_named(refuse: Refuse) -> None:
    # A deploy file lists its layers, and holds no arrays.
    assert "lack the layer conv1_1" in refuse(files.write_caffe({}), "hed.caffemodel")


# Sides with which the poolings of the bordered picture within its 34 px of zeros need no rounding:
# elsewhere a 'same'-padded network's resize stretches, and the authors' does not.
@pytest.mark.parametrize(("border", "height", "width"), [(35, 54, 70), (64, 60, 44), (128, 60, 28)])
def test_the_authors_padding_is_34_px_of_zeros_around_same(
    border: int, height: int, width: int
) -> None:
    layers = make_layers(1, THIN)
    bordered = reflect(make_picture(border, height, width), (border, border), (border, border))
    authors = run_caffe(layers, bordered)
    same = run_same(layers, np.pad(bordered, [(0, 0), (0, 0), (34, 34), (34, 34)]))[34:-34, 34:-34]
    assert authors.std() > 0.05, "the networks tell nothing"
    assert np.abs(authors - same).max() < 2e-6


def run_graph(layers: Layers, picture: Map, border: int) -> Map:
    rows, columns = (plan_axis(side, border) for side in picture.shape[2:])
    graph = np.frombuffer(build_graph(layers, Plan(rows, columns)), np.uint8)
    net = cv2.dnn.readNetFromONNX(graph, engine=cv2.dnn.ENGINE_CLASSIC)
    net.setInput(reflect(picture, (rows.before, columns.before), (rows.after, columns.after)))
    edges: Map = net.forward()[0, 0]
    return edges


@pytest.mark.parametrize(("height", "width"), [(60, 60), (50, 61), (47, 33)])
def test_a_border_of_114_is_the_authors_128(height: int, width: int) -> None:
    """114 lies as 128 + 34 in the poolings' grid, and HED sees 113 px at most.

    Any size does, whether or not the authors' poolings round up at its end.
    """
    layers = make_layers(2, THIN)
    picture = make_picture(height, height, width)
    authors = run_caffe(layers, reflect(picture, (128, 128), (128, 128)))[128:-128, 128:-128]
    assert authors.std() > 0.05, "the networks tell nothing"
    assert np.abs(run_graph(layers, picture, 114) - authors).max() < 1e-5
    # With these layers the grid's place shows; else the comparison above would prove little.
    assert np.abs(run_graph(layers, picture, 112) - authors).max() > 0.01
