import torch

from model.training.image_pool import ImagePool


def make_pool(size: int) -> ImagePool:
    return ImagePool(size, torch.Generator().manual_seed(0))


def numbered(*numbers: int) -> torch.Tensor:
    return torch.stack([torch.full((4, 2, 2), float(number)) for number in numbers])


def test_without_a_pool_new_pairs_are_shown() -> None:
    pairs = numbered(1, 2)
    assert make_pool(0).query(pairs) is pairs


def test_it_fills_and_then_shows_old_ones_half_of_the_time() -> None:
    pool = make_pool(4)
    assert torch.equal(pool.query(numbered(0, 1, 2, 3)), numbered(0, 1, 2, 3))
    old = 0
    left = {0, 1, 2, 3}
    for number in range(4, 204):
        shown = int(pool.query(numbered(number))[0, 0, 0, 0])
        assert shown == number or shown in left, "what was shown again was not in the pool"
        if shown != number:
            left = left - {shown} | {number}
            old += 1
    assert 70 < old < 130
    assert pool.images is not None
    assert {int(pair[0, 0, 0]) for pair in pool.images} == left


def test_no_gradient_is_kept() -> None:
    pairs = numbered(1, 2).requires_grad_()
    assert not make_pool(2).query(pairs).requires_grad
