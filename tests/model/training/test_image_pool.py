import torch

from model.training.image_pool import ImagePool


def make_pool(size: int) -> ImagePool:
    return ImagePool(size, torch.Generator().manual_seed(0))


def make_pairs(*numbers: int) -> torch.Tensor:
    return torch.stack([torch.full((4, 2, 2), float(number)) for number in numbers])


def test_disabled_pool_returns_the_new_pairs() -> None:
    pairs = make_pairs(1, 2)
    assert make_pool(0).query(pairs) is pairs


def test_full_pool_returns_stored_pairs_half_of_the_time() -> None:
    pool = make_pool(4)
    assert torch.equal(pool.query(make_pairs(0, 1, 2, 3)), make_pairs(0, 1, 2, 3))
    num_returned_again = 0
    stored = {0, 1, 2, 3}
    for number in range(4, 204):
        returned = int(pool.query(make_pairs(number))[0, 0, 0, 0])
        assert returned == number or returned in stored, "the returned pair was not in the pool"
        if returned != number:
            stored = stored - {returned} | {number}
            num_returned_again += 1
    assert 70 < num_returned_again < 130
    assert pool.images is not None
    assert {int(pair[0, 0, 0]) for pair in pool.images} == stored


def test_returned_pairs_have_no_gradient() -> None:
    pairs = make_pairs(1, 2).requires_grad_()
    assert not make_pool(2).query(pairs).requires_grad
