import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hed.weights import load_weights
from tests.hed.networks import THIN, Layers, make_layers
from tests.hed.weights import files
from tests.hed.weights.conftest import Refuse

PLACE = "block1/layers/conv2d/vars/0"


def test_kernels_are_turned_to_our_order(forms: dict[str, Path], layers: Layers) -> None:
    weights = load_weights(forms["hed.weights.h5"])
    assert weights.form == "keras"
    assert weights.layers is not None
    for layer, (kernel, bias) in layers.items():
        assert (weights.layers[layer][0] == kernel).all()
        assert (weights.layers[layer][1] == bias).all()


def test_the_defaults_threshold_is_its_own(forms: dict[str, Path]) -> None:
    assert load_weights().threshold == 0.5
    assert load_weights(forms["hed.weights.h5"]).threshold is None


Change = Callable[[h5py.File], object]


def edit(change: Change) -> bytes:
    """Return a file of small layers, its first kernel taken out, changed before it is closed."""
    buffer = io.BytesIO(files.write_keras(make_layers(0, THIN)))
    with h5py.File(buffer, "r+") as file:
        del file[PLACE]
        change(file)
    return buffer.getvalue()


def create(**options: Any) -> Change:
    """Return a change that puts another first kernel there, of the right shape unless given."""
    options = {"shape": (3, 3, 3, 64), "dtype": "f4"} | options
    return lambda file: file.create_dataset(PLACE, **options)


def test_a_huge_declared_shape_is_refused_unread(refuse: Refuse) -> None:
    content = edit(create(shape=(3, 3, 1 << 20, 1 << 20)))
    assert len(content) < 500_000
    assert "conv1_1 is 1048576×1048576×3×3, and HED's is 64×3×3×3" in refuse(content, "big.h5")


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.h5", "/x"), h5py.SoftLink("/fuse")])
@pytest.mark.parametrize("place", [PLACE, "block1"])
def test_links_are_not_followed(
    link: object, place: str, refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with h5py.File("other.h5", "w") as other:
        other["x"] = np.zeros((3, 3, 3, 64), np.float32)

    def lead_away(file: h5py.File) -> None:
        if place in file:
            del file[place]
        file[place] = link

    content = edit(lead_away)
    assert "is a link to elsewhere" in refuse(content, "link.h5")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3, 3, 3, 64), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 3, 3, 64))
    file.create_virtual_dataset(PLACE, layout)


@pytest.mark.parametrize(
    "change",
    [
        create(compression="gzip"),
        create(chunks=(3, 3, 3, 64), maxshape=(None, None, None, None)),
        create(external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]),
        virtual,
    ],
    ids=["compressed", "chunked", "external", "virtual"],
)
def test_what_lies_elsewhere_or_unfolds_is_refused(change: Change, refuse: Refuse) -> None:
    assert "in chunks, compressed or in another file" in refuse(edit(change), "odd.h5")


def test_what_is_no_number_is_refused(refuse: Refuse) -> None:
    assert "holds no floating-point" in refuse(edit(create(dtype="i4")), "odd.h5")


def test_what_is_no_data_set_counts_as_missing(refuse: Refuse) -> None:
    content = edit(lambda file: file.create_group(PLACE))
    assert "conv1_2 is 4×4×3×3" in refuse(content, "odd.h5")
    assert "lack the layer conv1_1" in refuse(files.write_keras({}), "odd.h5")


def test_other_networks_are_told(refuse: Refuse) -> None:
    line = refuse(files.write_keras(make_layers(0, THIN)), "thin.h5")
    assert "kernel of conv1_1 is 4×3×3×3, and HED's is 64×3×3×3" in line
    flat = edit(create(shape=(64,)))
    assert "kernel of conv1_1 is 64, and" in refuse(flat, "flat.h5")


def test_damage_within_is_refused(refuse: Refuse) -> None:
    """Bits turned in what describes the first data set, where h5py raises one thing and another."""
    content = files.write_keras(make_layers(0, (1,) * 5))
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for place in random.integers(8, len(damaged), 4):
            damaged[place] = random.choice([0, 1, 127, 128, 255])
        refuse(bytes(damaged), "damaged.h5")
