import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hed.weights import load_weights
from tests.hed.networks import THIN_CHANNELS, Layers, make_layers
from tests.hed.weights import files
from tests.hed.weights.conftest import LoadError

HDF5_PATH = "block1/layers/conv2d/vars/0"


def test_kernels_are_transposed(weights_files: dict[str, Path], layers: Layers) -> None:
    weights = load_weights(weights_files["hed.weights.h5"])
    assert weights.format == "keras"
    assert weights.layers is not None
    for layer, (kernel, bias) in layers.items():
        assert (weights.layers[layer][0] == kernel).all()
        assert (weights.layers[layer][1] == bias).all()


def test_only_default_weights_have_a_threshold(weights_files: dict[str, Path]) -> None:
    assert load_weights().threshold == 0.5
    assert load_weights(weights_files["hed.weights.h5"]).threshold is None


Change = Callable[[h5py.File], object]


def edit_file(change: Change) -> bytes:
    """Return a file with small layers, without its first kernel, after applying a change."""
    buffer = io.BytesIO(files.write_keras(make_layers(0, THIN_CHANNELS)))
    with h5py.File(buffer, "r+") as file:
        del file[HDF5_PATH]
        change(file)
    return buffer.getvalue()


def create_dataset(**options: Any) -> Change:
    """Return a change that adds the first kernel, of the right shape unless given."""
    options = {"shape": (3, 3, 3, 64), "dtype": "f4"} | options
    return lambda file: file.create_dataset(HDF5_PATH, **options)


def test_huge_declared_shape_is_rejected_without_reading(error_for: LoadError) -> None:
    content = edit_file(create_dataset(shape=(3, 3, 1 << 20, 1 << 20)))
    assert len(content) < 500_000
    assert "conv1_1 is 1048576×1048576×3×3, and HED's is 64×3×3×3" in error_for(content, "big.h5")


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.h5", "/x"), h5py.SoftLink("/fuse")])
@pytest.mark.parametrize("hdf5_path", [HDF5_PATH, "block1"])
def test_links_are_rejected(
    link: object,
    hdf5_path: str,
    error_for: LoadError,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with h5py.File("other.h5", "w") as other:
        other["x"] = np.zeros((3, 3, 3, 64), np.float32)

    def add_link(file: h5py.File) -> None:
        if hdf5_path in file:
            del file[hdf5_path]
        file[hdf5_path] = link

    content = edit_file(add_link)
    assert "is a link." in error_for(content, "link.h5")


def create_virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3, 3, 3, 64), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 3, 3, 64))
    file.create_virtual_dataset(HDF5_PATH, layout)


@pytest.mark.parametrize(
    "change",
    [
        create_dataset(compression="gzip"),
        create_dataset(chunks=(3, 3, 3, 64), maxshape=(None, None, None, None)),
        create_dataset(external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]),
        create_virtual_dataset,
    ],
    ids=["compressed", "chunked", "external", "virtual"],
)
def test_chunked_and_external_storage_is_rejected(change: Change, error_for: LoadError) -> None:
    assert "in chunks, compressed or in another file" in error_for(edit_file(change), "odd.h5")


def test_integer_arrays_are_rejected(error_for: LoadError) -> None:
    assert "does not contain floating-point" in error_for(
        edit_file(create_dataset(dtype="i4")), "odd.h5"
    )


def test_group_instead_of_data_set_counts_as_missing(error_for: LoadError) -> None:
    content = edit_file(lambda file: file.create_group(HDF5_PATH))
    assert "conv1_2 is 4×4×3×3" in error_for(content, "odd.h5")
    assert "lack the layer conv1_1" in error_for(files.write_keras({}), "odd.h5")


def test_other_network_error_names_shape(error_for: LoadError) -> None:
    line = error_for(files.write_keras(make_layers(0, THIN_CHANNELS)), "thin.h5")
    assert "kernel of conv1_1 is 4×3×3×3, and HED's is 64×3×3×3" in line
    flat = edit_file(create_dataset(shape=(64,)))
    assert "kernel of conv1_1 is 64, and" in error_for(flat, "flat.h5")


def test_damaged_file_is_rejected(error_for: LoadError) -> None:
    """Damaged metadata makes h5py raise various exceptions."""
    content = files.write_keras(make_layers(0, (1,) * 5))
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for offset in random.integers(8, len(damaged), 4):
            damaged[offset] = random.choice([0, 1, 127, 128, 255])
        error_for(bytes(damaged), "damaged.h5")
