import pytest

from config.errors import SourceError
from config.settings import get_settings
from sources import check_license, find_dataset, format_license_terms
from storage import LocalStore
from storage.raw_sets import Origin, read_acceptance


def test_license_is_accepted_once(store: LocalStore) -> None:
    car = find_dataset("car")
    with pytest.raises(SourceError, match=r"CC BY-NC.*--accept-license"):
        check_license(car, store)
    assert read_acceptance(store, "car") is None
    check_license(car, store, accept=True)
    check_license(car, store)
    with pytest.raises(SourceError, match="shoes"):
        check_license(find_dataset("shoes"), store)


def test_changed_license_has_to_be_accepted_again(store: LocalStore) -> None:
    car = find_dataset("car")
    check_license(car, store, accept=True)
    with pytest.raises(SourceError, match="all rights reserved"):
        check_license(car.model_copy(update={"license": "all rights reserved"}), store)


@pytest.mark.parametrize("setting", ["car", "shoes, car", "all"])
def test_setting_accepts_licenses(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("ICANVAS_ACCEPT_LICENSES", setting)
    get_settings.cache_clear()
    check_license(find_dataset("car"), store)
    assert read_acceptance(store, "car") is not None


def test_license_of_the_host_is_used_if_the_catalogue_refers_to_it() -> None:
    origin = Origin(
        source="", identity="", read_from="", acquired="", host_metadata={"licence": "CC0"}
    )
    assert format_license_terms(find_dataset("panda"), origin).startswith("CC0. The photos are not")
    assert format_license_terms(find_dataset("panda")).startswith("see Kaggle. ")
    assert format_license_terms(find_dataset("car"), origin).startswith("CC BY-NC 4.0. ")


def test_open_license_needs_no_acceptance(store: LocalStore) -> None:
    check_license(find_dataset("cartoon"), store)
    check_license(find_dataset("demo"), store)
    assert not list(store.list_keys("datasets"))
