import pytest
import torch

from model.training.losses import adversarial_loss, discriminator_loss, join_pair


@pytest.mark.parametrize(
    ("real", "fake", "loss"), [(1, 0, 0), (0, 0, 0.5), (1, 1, 0.5), (0, 1, 1), (3, -1, 2.5)]
)
def test_discriminator_loss_values(real: float, fake: float, loss: float) -> None:
    shape = (2, 1, 6, 6)
    assert (
        discriminator_loss(torch.full(shape, float(real)), torch.full(shape, float(fake))).item()
        == loss
    )


@pytest.mark.parametrize(("fake", "loss"), [(1, 0), (0, 1), (-1, 4)])
def test_adversarial_loss_values(fake: float, loss: float) -> None:
    assert adversarial_loss(torch.full((2, 1, 6, 6), float(fake))).item() == loss


def test_joined_pair_has_four_channels_in_one_range() -> None:
    picture, condition = torch.full((2, 3, 8, 8), -0.5), torch.zeros(2, 1, 8, 8)
    condition[..., 4:] = 1
    pair = join_pair(picture, condition)
    assert pair.shape == (2, 4, 8, 8)
    assert (pair[:, :3] == -0.5).all()
    assert (pair[:, 3, :, :4] == -1).all()
    assert (pair[:, 3, :, 4:] == 1).all()
