import pytest

from config.errors import InputError, NotFoundError
from storage.checkpoint_selection import format_ranges, resolve_checkpoint

AVAILABLE = {"0123456789ab": [1, 2, 4], "ab0123456789": [3, 10]}


def test_resolves_run_and_epoch_and_defaults_to_last() -> None:
    assert resolve_checkpoint(None, AVAILABLE) == ("ab0123456789", 10)
    assert resolve_checkpoint("last", AVAILABLE) == ("ab0123456789", 10)
    assert resolve_checkpoint("0123456789ab/2", AVAILABLE) == ("0123456789ab", 2)
    assert resolve_checkpoint("0123456789ab/epoch-0002", AVAILABLE) == ("0123456789ab", 2)


@pytest.mark.parametrize("wanted", ["0123456789ab/3", "nothing/1"])
def test_unknown_checkpoint_error_lists_existing_ones(wanted: str) -> None:
    with pytest.raises(NotFoundError, match=r"0123456789ab/1-2, 4; ab0123456789/3, 10\."):
        resolve_checkpoint(wanted, AVAILABLE)


@pytest.mark.parametrize("wanted", ["0123456789ab", "12", "", "a/b", "a/1/2", "a/-1"])
def test_invalid_name_error_shows_an_example(wanted: str) -> None:
    with pytest.raises(InputError, match=r"RUN/EPOCH, such as ab0123456789/10, or last\."):
        resolve_checkpoint(wanted, AVAILABLE)


def test_format_ranges_joins_consecutive_numbers() -> None:
    assert format_ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
