import pytest

from config.errors import InputError, NotFoundError
from storage.checkpoint_names import format_ranges, resolve_checkpoint

AVAILABLE = {"0123456789ab": [1, 2, 4], "ab0123456789": [3, 10]}


def test_the_last_checkpoint_of_the_newest_run_is_taken() -> None:
    assert resolve_checkpoint(None, AVAILABLE) == ("ab0123456789", 10)
    assert resolve_checkpoint("last", AVAILABLE) == ("ab0123456789", 10)
    assert resolve_checkpoint("0123456789ab/2", AVAILABLE) == ("0123456789ab", 2)
    assert resolve_checkpoint("0123456789ab/epoch-0002", AVAILABLE) == ("0123456789ab", 2)


@pytest.mark.parametrize("wanted", ["0123456789ab/3", "nothing/1"])
def test_another_is_answered_with_what_there_is(wanted: str) -> None:
    with pytest.raises(NotFoundError, match=r"0123456789ab/1-2, 4; ab0123456789/3, 10\."):
        resolve_checkpoint(wanted, AVAILABLE)


@pytest.mark.parametrize("wanted", ["0123456789ab", "12", "", "a/b", "a/1/2", "a/-1"])
def test_what_is_written_otherwise_gets_an_example(wanted: str) -> None:
    with pytest.raises(InputError, match=r"RUN/EPOCH, as in ab0123456789/10, or last\."):
        resolve_checkpoint(wanted, AVAILABLE)


def test_ranges() -> None:
    assert format_ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
