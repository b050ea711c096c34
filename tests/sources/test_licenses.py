import pytest

from config.errors import SourceError
from config.settings import get_settings
from sources import check_licence, find, state_licence
from storage import LocalStore
from storage.raw_sets import Origin, read_acceptance


def test_a_licence_is_asked_for_once(store: LocalStore) -> None:
    car = find("car")
    with pytest.raises(SourceError, match=r"CC BY-NC.*--accept-license"):
        check_licence(car, store)
    assert read_acceptance(store, "car") is None
    check_licence(car, store, accept=True)
    check_licence(car, store)
    with pytest.raises(SourceError, match="shoes"):
        check_licence(find("shoes"), store)


def test_another_licence_is_asked_for_again(store: LocalStore) -> None:
    car = find("car")
    check_licence(car, store, accept=True)
    with pytest.raises(SourceError, match="all rights reserved"):
        check_licence(car.model_copy(update={"licence": "all rights reserved"}), store)


@pytest.mark.parametrize("said", ["car", "shoes, car", "all"])
def test_a_setting_accepts(store: LocalStore, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("ICANVAS_ACCEPT_LICENSES", said)
    get_settings.cache_clear()
    check_licence(find("car"), store)
    assert read_acceptance(store, "car") is not None


def test_a_licence_is_the_one_that_its_host_states() -> None:
    origin = Origin(source="", identity="", read_from="", acquired="", stated={"licence": "CC0"})
    assert state_licence(find("panda"), origin).startswith("CC0. The photos are not")
    assert state_licence(find("panda")).startswith("see Kaggle. ")
    assert state_licence(find("car"), origin).startswith("CC BY-NC 4.0. ")


def test_an_open_licence_asks_for_nothing(store: LocalStore) -> None:
    check_licence(find("cartoon"), store)
    check_licence(find("demo"), store)
    assert not list(store.list("datasets"))
