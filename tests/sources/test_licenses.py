import pytest

from config.errors import SourceError
from config.settings import get_settings
from sources import check_license, find_dataset, format_license_terms
from storage import LocalStore
from storage.raw_sets import Origin, read_acceptance


def test_a_licence_is_asked_for_once(store: LocalStore) -> None:
    car = find_dataset("car")
    with pytest.raises(SourceError, match=r"CC BY-NC.*--accept-license"):
        check_license(car, store)
    assert read_acceptance(store, "car") is None
    check_license(car, store, accept=True)
    check_license(car, store)
    with pytest.raises(SourceError, match="shoes"):
        check_license(find_dataset("shoes"), store)


def test_another_licence_is_asked_for_again(store: LocalStore) -> None:
    car = find_dataset("car")
    check_license(car, store, accept=True)
    with pytest.raises(SourceError, match="all rights reserved"):
        check_license(car.model_copy(update={"license": "all rights reserved"}), store)


@pytest.mark.parametrize("said", ["car", "shoes, car", "all"])
def test_a_setting_accepts(store: LocalStore, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("ICANVAS_ACCEPT_LICENSES", said)
    get_settings.cache_clear()
    check_license(find_dataset("car"), store)
    assert read_acceptance(store, "car") is not None


def test_a_licence_is_the_one_that_its_host_states() -> None:
    origin = Origin(
        source="", identity="", read_from="", acquired="", host_metadata={"licence": "CC0"}
    )
    assert format_license_terms(find_dataset("panda"), origin).startswith("CC0. The photos are not")
    assert format_license_terms(find_dataset("panda")).startswith("see Kaggle. ")
    assert format_license_terms(find_dataset("car"), origin).startswith("CC BY-NC 4.0. ")


def test_an_open_licence_asks_for_nothing(store: LocalStore) -> None:
    check_license(find_dataset("cartoon"), store)
    check_license(find_dataset("demo"), store)
    assert not list(store.list_keys("datasets"))
