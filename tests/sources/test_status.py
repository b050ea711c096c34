from collections.abc import Callable
from pathlib import Path

import pytest

from config.settings import get_settings
from sources import acquire, check_license, describe_status, find_dataset, get_status, list_statuses
from sources.status import format_download, format_license, format_num_pictures
from storage import LocalStore, keys
from storage.json_objects import write_json
from storage.pair_sets import CurrentPairs, swap_current
from storage.raw_sets import Origin
from storage.runs import Run


def test_a_set_goes_from_stage_to_stage(
    store: LocalStore, make_folder: Callable[[int], Path]
) -> None:
    dataset = find_dataset(str(make_folder(2)))
    name = dataset.name
    stages = [(get_status(store, dataset).stage, get_status(store, dataset).next_command)]
    acquire(dataset, store)
    stages.append((get_status(store, dataset).stage, get_status(store, dataset).next_command))
    swap_current(store, name, CurrentPairs(fingerprint="abc", source=dataset.origin))
    stages.append((get_status(store, dataset).stage, get_status(store, dataset).next_command))
    Run(store, name, "run").save_checkpoint(1, 1, b"weights", {})
    stages.append((get_status(store, dataset).stage, get_status(store, dataset).next_command))
    assert stages == [
        ("not acquired", f"icanvas prepare {name}"),
        ("acquired", f"icanvas prepare {name}"),
        ("prepared", f"icanvas train {name}"),
        ("trained", f"icanvas train {name} --force"),
    ]


def test_the_list_holds_the_catalogue_and_what_is_ones_own(
    store: LocalStore, tmp_path: Path
) -> None:
    swap_current(store, "mine", CurrentPairs(fingerprint="abc", source=str(tmp_path)))
    states = {state.dataset.name: state.stage for state in list_statuses(store)}
    assert len(states) == 10
    assert (states["mine"], states["car"]) == ("prepared", "not acquired")


def test_the_list_does_not_mind_the_folder_it_is_asked_in(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap_current(store, "photos", CurrentPairs(fingerprint="abc", source="/elsewhere/photos"))
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "photos" in {state.dataset.name for state in list_statuses(store)}


def test_a_licence_is_asked_for_until_it_is_accepted(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get_status(store, find_dataset("car")).needs_acceptance
    assert not get_status(store, find_dataset("cartoon")).needs_acceptance
    check_license(find_dataset("car"), store, accept=True)
    assert not get_status(store, find_dataset("car")).needs_acceptance
    monkeypatch.setenv("ICANVAS_ACCEPT_LICENSES", "shoes")
    get_settings.cache_clear()
    assert not get_status(store, find_dataset("shoes")).needs_acceptance


def test_what_there_is_to_know(store: LocalStore) -> None:
    facts = dict(describe_status(get_status(store, find_dataset("car"))))
    assert facts["license"] == "CC BY-NC 4.0 · Research only."
    assert facts["pictures"].startswith("11,476 (6,097 in ")
    assert facts["download"] == "13.6 GB"
    assert facts["next"] == "icanvas prepare car --accept-license"
    cartoon = dict(describe_status(get_status(store, find_dataset("cartoon"))))
    assert cartoon["pictures"] == "9,996 (--all takes every one)"
    assert cartoon["taken"] == "*.png, 9,996 of 100,000 chosen with seed 0"
    assert "re-extract" in dict(describe_status(get_status(store, find_dataset("shoes"))))["edges"]


def test_the_list_counts_what_became_pairs(store: LocalStore) -> None:
    assert format_num_pictures(get_status(store, find_dataset("panda"))) == "300"
    pairs = CurrentPairs(fingerprint="abc", source=find_dataset("panda").origin, train=285, val=5)
    swap_current(store, "panda", pairs)
    assert format_num_pictures(get_status(store, find_dataset("panda"))) == "290 of 300"
    facts = dict(describe_status(get_status(store, find_dataset("panda"))))
    assert facts["pairs"] == "abc: 285 training, 5 validation"
    pairs = CurrentPairs(
        fingerprint="abc", source=find_dataset("shoes").origin, train=49_825, val=200
    )
    swap_current(store, "shoes", pairs)
    assert format_num_pictures(get_status(store, find_dataset("shoes"))) == "49,825 of 49,825"


def test_of_another_choice_nothing_is_expected(store: LocalStore) -> None:
    car = find_dataset("car")
    facts = {"source": car.origin, "identity": "abc", "read_from": "", "acquired": "2026-01-01"}
    chosen = "**/BMW/**, where body_type=Saloon"
    write_json(store, keys.latest_origin("car"), Origin(**facts, selection=chosen))
    pairs = CurrentPairs(fingerprint="abc", source=car.origin, train=5, val=1)
    swap_current(store, "car", pairs)
    assert format_num_pictures(get_status(store, car)) == "6"
    assert ("", f"of it {chosen}") in describe_status(get_status(store, car))


@pytest.mark.parametrize(
    ("stated", "shown"),
    [
        ("Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)", "CC BY-NC 4.0"),
        ("CC0: Public Domain", "CC0: Public…"),
        ("Unknown", "Unknown"),
    ],
)
def test_a_long_licence_is_shown_short(store: LocalStore, stated: str, shown: str) -> None:
    panda = find_dataset("panda")
    facts = {"source": panda.origin, "identity": "abc", "read_from": "", "acquired": "2026-01-01"}
    write_json(
        store, keys.latest_origin("panda"), Origin(**facts, host_metadata={"licence": stated})
    )
    state = get_status(store, panda)
    assert (format_license(state), state.license) == (shown, stated)


def test_sizes(store: LocalStore) -> None:
    sizes = {
        name: format_download(get_status(store, find_dataset(name)))
        for name in ("cartoon", "shoes", "panda", "demo")
    }
    assert sizes == {"cartoon": "4.8 GB", "shoes": "2.2 GB", "panda": "?", "demo": "none"}
