import pytest

from config.errors import InputError, NotFoundError
from storage.checkpoint_names import choose_checkpoint, show_ranges

THERE = {"0123456789ab": [1, 2, 4], "ab0123456789": [3, 10]}


def test_the_last_checkpoint_of_the_newest_run_is_taken() -> None:
    assert choose_checkpoint(None, THERE) == ("ab0123456789", 10)
    assert choose_checkpoint("last", THERE) == ("ab0123456789", 10)
    assert choose_checkpoint("0123456789ab/2", THERE) == ("0123456789ab", 2)
    assert choose_checkpoint("0123456789ab/epoch-0002", THERE) == ("0123456789ab", 2)


@pytest.mark.parametrize("wanted", ["0123456789ab/3", "nothing/1"])
def test_another_is_answered_with_what_there_is(wanted: str) -> None:
    with pytest.raises(NotFoundError, match=r"0123456789ab/1-2, 4; ab0123456789/3, 10\."):
        choose_checkpoint(wanted, THERE)


@pytest.mark.parametrize("wanted", ["0123456789ab", "12", "", "a/b", "a/1/2", "a/-1"])
def test_what_is_written_otherwise_gets_an_example(wanted: str) -> None:
    with pytest.raises(InputError, match=r"RUN/EPOCH, as in ab0123456789/10, or last\."):
        choose_checkpoint(wanted, THERE)


def test_ranges() -> None:
    assert show_ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
