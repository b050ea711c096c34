import pytest
import torch
from torch import nn

from model.networks.discriminator import Discriminator
from model.networks.generator import Generator
from model.networks.layers import count_parameters


def test_parameter_counts_are_as_specified() -> None:
    assert count_parameters(Generator()) == 11_377_155
    assert count_parameters(Discriminator()) == 2_765_633


@pytest.mark.parametrize("size", [64, 96, 128])
def test_shapes_and_ranges(size: int) -> None:
    condition = torch.rand(2, 1, size, size)
    picture = Generator(width=8, blocks=2)(condition)
    assert picture.shape == (2, 3, size, size)
    assert picture.abs().max() <= 1
    scores = Discriminator(width=8)(torch.rand(2, 4, size, size) * 2 - 1)
    assert scores.shape == (2, 1, size // 8 - 2, size // 8 - 2)


def test_receptive_field_is_70_pixels() -> None:
    field, step = 1, 1
    for layer in Discriminator(width=8).layers:
        if isinstance(layer, nn.Conv2d):
            field += (layer.kernel_size[0] - 1) * step
            step *= layer.stride[0]
    assert field == 70


def test_biases_and_norms_are_as_specified() -> None:
    generator, discriminator = Generator(), Discriminator()
    convolutions = [m for m in generator.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [m.bias is not None for m in convolutions] == [False] * 23 + [True]
    for network in (generator, discriminator):
        norms = [m for m in network.modules() if isinstance(m, nn.InstanceNorm2d)]
        assert {m.eps for m in norms} == {1e-3}
        assert not any(m.track_running_stats for m in norms)
    assert all(m.affine for m in generator.modules() if isinstance(m, nn.InstanceNorm2d))
    kinds = [
        (m.bias is not None) if isinstance(m, nn.Conv2d) else f"affine {m.affine}"
        for m in discriminator.layers
        if isinstance(m, nn.Conv2d | nn.InstanceNorm2d)
    ]
    assert kinds == [True, False, "affine True", False, "affine True", False, "affine False", True]


def test_initial_weights_are_small_and_biases_zero() -> None:
    for network in (Generator(), Discriminator()):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert abs(layer.weight.std().item() - 0.02) < 0.004
                assert layer.bias is None or not layer.bias.any()


def test_blank_input_has_no_border_artifact() -> None:
    """Zero padding would cause one; only the strided convolutions pad with zeros."""
    generator = Generator(width=8, blocks=2)
    head = generator.layers[:2](torch.ones(1, 1, 32, 32))
    torch.testing.assert_close(head, head[:, :, 16:17, 16:17].expand_as(head))
    tail = generator.layers[-3:-1](torch.ones(1, 8, 32, 32))
    torch.testing.assert_close(tail, tail[:, :, 16:17, 16:17].expand_as(tail))


def test_state_dict_keys_are_those_of_stored_checkpoints() -> None:
    assert list(Generator(width=4, blocks=1).state_dict()) == [
        "layers.1.weight",
        *("layers.2.weight", "layers.2.bias"),
        "layers.4.weight",
        *("layers.5.weight", "layers.5.bias"),
        "layers.7.weight",
        *("layers.8.weight", "layers.8.bias"),
        "layers.10.body.1.weight",
        *("layers.10.body.2.weight", "layers.10.body.2.bias"),
        "layers.10.body.5.weight",
        *("layers.10.body.6.weight", "layers.10.body.6.bias"),
        "layers.11.weight",
        *("layers.12.weight", "layers.12.bias"),
        "layers.14.weight",
        *("layers.15.weight", "layers.15.bias"),
        *("layers.18.weight", "layers.18.bias"),
    ]
    assert list(Discriminator(width=4).state_dict()) == [
        *("layers.0.weight", "layers.0.bias"),
        "layers.2.weight",
        *("layers.3.weight", "layers.3.bias"),
        "layers.5.weight",
        *("layers.6.weight", "layers.6.bias"),
        "layers.8.weight",
        *("layers.11.weight", "layers.11.bias"),
    ]
