from pathlib import Path

import pytest

from config.errors import InputError, SourceError
from sources import find_prepared_dataset
from storage import LocalStore
from storage.pair_sets import CurrentPairs, swap_current


def test_prepared_folder_is_found_by_its_name(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="photos"):
        find_prepared_dataset(store, "photos")
    with pytest.raises(SourceError):
        find_prepared_dataset(store, "../photos")
    folder = tmp_path / "photos"
    folder.mkdir()
    assert find_prepared_dataset(store, str(folder))[1] is None
    pairs = CurrentPairs(fingerprint="abc", source=str(folder))
    swap_current(store, "photos", pairs)
    for name_or_path in ("photos", str(folder)):
        dataset, current = find_prepared_dataset(store, name_or_path)
        assert (dataset.name, dataset.source.title, current) == ("photos", str(folder), pairs)


def test_other_folder_of_the_same_name_is_refused(store: LocalStore, tmp_path: Path) -> None:
    other = tmp_path / "other" / "photos"
    other.mkdir(parents=True)
    swap_current(store, "photos", CurrentPairs(fingerprint="abc", source="/first/photos"))
    with pytest.raises(InputError, match="--name"):
        find_prepared_dataset(store, str(other))
    assert find_prepared_dataset(store, str(other), "mine")[1] is None


def test_catalogue_entry_of_another_checkout_is_accepted(store: LocalStore) -> None:
    pairs = CurrentPairs(fingerprint="abc", source="/another/checkout/demo")
    swap_current(store, "demo", pairs)
    assert find_prepared_dataset(store, "demo")[1] == pairs
