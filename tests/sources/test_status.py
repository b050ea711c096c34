from collections.abc import Callable
from pathlib import Path

import pytest

from config.settings import get_settings
from sources import acquire, check_licence, describe, find, find_state, list_states
from sources.status import show_download, show_licence, show_pictures
from storage import LocalStore, keys
from storage.pair_sets import CurrentPairs, swap_current
from storage.raw_sets import Origin, write
from storage.runs import Run


def test_a_set_goes_from_stage_to_stage(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    dataset = find(str(make_folder(2)))
    name = dataset.name
    stages = [(find_state(store, dataset).stage, find_state(store, dataset).next)]
    acquire(dataset, store)
    stages.append((find_state(store, dataset).stage, find_state(store, dataset).next))
    swap_current(store, name, CurrentPairs(fingerprint="abc", source=dataset.origin))
    stages.append((find_state(store, dataset).stage, find_state(store, dataset).next))
    Run(store, name, "run").put_checkpoint(1, 1, b"weights", {})
    stages.append((find_state(store, dataset).stage, find_state(store, dataset).next))
    assert stages == [
        ("not acquired", f"icanvas prepare {name}"),
        ("acquired", f"icanvas prepare {name}"),
        ("prepared", f"icanvas train {name}"),
        ("trained", f"icanvas train {name} --refresh"),
    ]


def test_the_list_holds_the_catalogue_and_what_is_ones_own(
    store: LocalStore, tmp_path: Path
) -> None:
    swap_current(store, "mine", CurrentPairs(fingerprint="abc", source=str(tmp_path)))
    states = {state.dataset.name: state.stage for state in list_states(store)}
    assert len(states) == 10
    assert (states["mine"], states["car"]) == ("prepared", "not acquired")


def test_the_list_does_not_mind_the_folder_it_is_asked_in(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap_current(store, "photos", CurrentPairs(fingerprint="abc", source="/elsewhere/photos"))
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "photos" in {state.dataset.name for state in list_states(store)}


def test_a_licence_is_asked_for_until_it_is_accepted(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_state(store, find("car")).asks
    assert not find_state(store, find("cartoon")).asks
    check_licence(find("car"), store, accept=True)
    assert not find_state(store, find("car")).asks
    monkeypatch.setenv("ICANVAS_ACCEPT_LICENSES", "shoes")
    get_settings.cache_clear()
    assert not find_state(store, find("shoes")).asks


def test_what_there_is_to_know(store: LocalStore) -> None:
    facts = dict(describe(find_state(store, find("car"))))
    assert facts["licence"] == "CC BY-NC 4.0 · Research only."
    assert facts["pictures"].startswith("11,476 (6,097 in ")
    assert facts["download"] == "13.6 GB"
    assert facts["next"] == "icanvas prepare car --accept-license"
    cartoon = dict(describe(find_state(store, find("cartoon"))))
    assert cartoon["pictures"] == "9,996 (--all takes every one)"
    assert cartoon["taken"] == "*.png, 9,996 of 100,000 chosen with seed 0"
    assert "re-extract" in dict(describe(find_state(store, find("shoes"))))["edges"]


def test_the_list_counts_what_became_pairs(store: LocalStore) -> None:
    assert show_pictures(find_state(store, find("panda"))) == "300"
    pairs = CurrentPairs(fingerprint="abc", source=find("panda").origin, train=285, val=5)
    swap_current(store, "panda", pairs)
    assert show_pictures(find_state(store, find("panda"))) == "290 of 300"
    facts = dict(describe(find_state(store, find("panda"))))
    assert facts["pairs"] == "abc: 285 training, 5 validation"
    pairs = CurrentPairs(fingerprint="abc", source=find("shoes").origin, train=49_825, val=200)
    swap_current(store, "shoes", pairs)
    assert show_pictures(find_state(store, find("shoes"))) == "49,825 of 49,825"


def test_of_another_choice_nothing_is_expected(store: LocalStore) -> None:
    car = find("car")
    facts = {"source": car.origin, "identity": "abc", "read_from": "", "acquired": "2026-01-01"}
    chosen = "**/BMW/**, where body_type=Saloon"
    write(store, keys.newest_origin("car"), Origin(**facts, taken=chosen))
    pairs = CurrentPairs(fingerprint="abc", source=car.origin, train=5, val=1)
    swap_current(store, "car", pairs)
    assert show_pictures(find_state(store, car)) == "6"
    assert ("", f"of it {chosen}") in describe(find_state(store, car))


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ("Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)", "CC BY-NC 4.0"),
        ("CC0: Public Domain", "CC0: Public…"),
        ("Unknown", "Unknown"),
    ],
)
def test_a_long_licence_is_shown_short(store: LocalStore, stated: str, shown: str) -> None:
    panda = find("panda")
    facts = {"source": panda.origin, "identity": "abc", "read_from": "", "acquired": "2026-01-01"}
    write(store, keys.newest_origin("panda"), Origin(**facts, stated={"licence": stated}))
    state = find_state(store, panda)
    assert (show_licence(state), state.licence) == (shown, stated)


def test_sizes(store: LocalStore) -> None:
    sizes = {
        name: show_download(find_state(store, find(name)))
        for name in ("cartoon", "shoes", "panda", "demo")
    }
    assert sizes == {"cartoon": "4.8 GB", "shoes": "2.2 GB", "panda": "?", "demo": "none"}
