"""Reading of the authors' format, and equivalence of their network and ours."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from hed.crop_plan import CropPlan, plan_axis
from hed.graph import build_graph
from hed.weights import load_weights
from tests.hed.networks import (
    THIN_CHANNELS,
    Float32Array,
    Layers,
    bilinear_kernel,
    make_layers,
    make_picture,
    pad_reflect,
    run_caffe,
    run_same_padding,
)
from tests.hed.weights import files
from tests.hed.weights.conftest import LoadError


@pytest.mark.parametrize("name", ["hed.caffemodel", "first.caffemodel"])
def test_current_and_legacy_layers_are_read(
    name: str, weights_files: dict[str, Path], layers: Layers
) -> None:
    weights = load_weights(weights_files[name])
    assert (weights.format, weights.threshold) == ("caffe", 25 / 255)
    assert weights.layers is not None
    assert set(weights.layers) == set(layers)
    for layer, (kernel, bias) in layers.items():
        assert (weights.layers[layer][0] == kernel).all()
        assert (weights.layers[layer][1] == bias).all()


def test_split_packed_field_is_joined() -> None:
    """Protocol Buffers allow a packed field to be split."""
    from hed.weights.caffe import _make_message_class, _read_array

    runs = [np.array([1, 2], "<f4").tobytes(), np.array([3], "<f4").tobytes()]
    blob = _make_message_class("BlobProto")()
    blob.ParseFromString(b"".join(files._encode_field(5, run) for run in runs))
    assert _read_array(blob, (3,), "conv1_1", Path("file")).tolist() == [1, 2, 3]


def test_file_without_upsampling_is_accepted(layers: Layers, tmp_path: Path) -> None:
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
def test_other_upsampling_is_rejected(kernel: Float32Array, error_for: LoadError) -> None:
    thin = make_layers(0, THIN_CHANNELS)
    upsampling = {4: kernel}
    # The upsampling comes first: the small layers are never read.
    content = files.write_caffe({}, upsampling=upsampling) + files.write_caffe(thin)
    assert "upsample_4 is not HED's bilinear upsampling" in error_for(content, "hed.caffemodel")


def test_wrong_shape_error_names_layer(error_for: LoadError) -> None:
    for first in (False, True):
        thin = files.write_caffe(make_layers(0, THIN_CHANNELS), legacy=first)
        line = error_for(thin, "hed.caffemodel")
        assert "kernel of conv1_1 is 4×3×3×3, and HED's is 64×3×3×3" in line


def test_incomplete_layer_error_names_layer(error_for: LoadError) -> None:
    kernel = np.zeros((64, 3, 3, 3), np.float32)
    incomplete = {"conv1_1": (kernel,)}
    assert "conv1_1 has 1 array(s)" in error_for(
        files.write_caffe(incomplete),  # type: ignore[arg-type]
        "hed.caffemodel",
    )
    shape = files._encode_field(7, files._encode_field(1, bytes([64])))
    bias = files._encode_field(7, files._encode_field(5, bytes(4 * 63)) + shape)
    layer = (
        files._encode_field(1, b"conv1_1")
        + files._encode_field(7, files._encode_blob(kernel, False))
        + bias
    )
    line = error_for(files._encode_field(100, layer), "hed.caffemodel")
    assert "conv1_1 declares 64 numbers and contains 252 bytes" in line


def test_missing_layer_error_names_layer(error_for: LoadError) -> None:
    # A deploy file lists its layers without arrays.
    assert "lack the layer conv1_1" in error_for(files.write_caffe({}), "hed.caffemodel")


# Sizes at which the poolings need no rounding. At other sizes the resize of a 'same'-padded network
# stretches, and the authors' upsampling does not.
@pytest.mark.parametrize(("border", "height", "width"), [(35, 54, 70), (64, 60, 44), (128, 60, 28)])
def test_authors_padding_equals_34_px_of_zeros(border: int, height: int, width: int) -> None:
    layers = make_layers(1, THIN_CHANNELS)
    bordered = pad_reflect(make_picture(border, height, width), (border, border), (border, border))
    authors = run_caffe(layers, bordered)
    padded = run_same_padding(layers, np.pad(bordered, [(0, 0), (0, 0), (34, 34), (34, 34)]))[
        34:-34, 34:-34
    ]
    assert authors.std() > 0.05, "the reference output is constant"
    assert np.abs(authors - padded).max() < 2e-6


def run_graph(layers: Layers, picture: Float32Array, border: int) -> Float32Array:
    rows, columns = (plan_axis(side, border) for side in picture.shape[2:])
    graph = np.frombuffer(build_graph(layers, CropPlan(rows, columns)), np.uint8)
    net = cv2.dnn.readNetFromONNX(graph, engine=cv2.dnn.ENGINE_CLASSIC)
    net.setInput(
        pad_reflect(
            picture, (rows.pad_before, columns.pad_before), (rows.pad_after, columns.pad_after)
        )
    )
    edges: Float32Array = net.forward()[0, 0]
    return edges


@pytest.mark.parametrize(("height", "width"), [(60, 60), (50, 61), (47, 33)])
def test_border_of_114_equals_authors_border_of_128(height: int, width: int) -> None:
    """114 px aligns the poolings as 128 + 34 px does, and exceeds HED's receptive radius of 113 px.

    This holds for any size, whether or not the authors' poolings round up at the end.
    """
    layers = make_layers(2, THIN_CHANNELS)
    picture = make_picture(height, height, width)
    authors = run_caffe(layers, pad_reflect(picture, (128, 128), (128, 128)))[128:-128, 128:-128]
    assert authors.std() > 0.05, "the reference output is constant"
    assert np.abs(run_graph(layers, picture, 114) - authors).max() < 1e-5
    # A misaligned border gives other edges: the comparison above is meaningful.
    assert np.abs(run_graph(layers, picture, 112) - authors).max() > 0.01
