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


def test_stage_and_next_command_advance(
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


def test_list_has_the_catalogue_and_other_data_sets(store: LocalStore, tmp_path: Path) -> None:
    swap_current(store, "mine", CurrentPairs(fingerprint="abc", source=str(tmp_path)))
    stages = {status.dataset.name: status.stage for status in list_statuses(store)}
    assert len(stages) == 10
    assert (stages["mine"], stages["car"]) == ("prepared", "not acquired")


def test_list_does_not_depend_on_the_working_directory(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap_current(store, "photos", CurrentPairs(fingerprint="abc", source="/elsewhere/photos"))
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "photos" in {status.dataset.name for status in list_statuses(store)}


def test_license_is_needed_until_it_is_accepted(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get_status(store, find_dataset("car")).needs_acceptance
    assert not get_status(store, find_dataset("cartoon")).needs_acceptance
    check_license(find_dataset("car"), store, accept=True)
    assert not get_status(store, find_dataset("car")).needs_acceptance
    monkeypatch.setenv("ICANVAS_ACCEPT_LICENSES", "shoes")
    get_settings.cache_clear()
    assert not get_status(store, find_dataset("shoes")).needs_acceptance


def test_description_has_the_facts(store: LocalStore) -> None:
    facts = dict(describe_status(get_status(store, find_dataset("car"))))
    assert facts["license"] == "CC BY-NC 4.0 · Research only."
    assert facts["pictures"].startswith("11,476 (6,097 in ")
    assert facts["download"] == "13.6 GB"
    assert facts["next"] == "icanvas prepare car --accept-license"
    cartoon = dict(describe_status(get_status(store, find_dataset("cartoon"))))
    assert cartoon["pictures"] == "9,996 (--all selects all)"
    assert cartoon["selected"] == "*.png, 9,996 of 100,000 chosen with seed 0"
    assert "re-extract" in dict(describe_status(get_status(store, find_dataset("shoes"))))["edges"]


def test_number_of_pairs_is_compared_with_the_expected(store: LocalStore) -> None:
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


def test_nothing_is_expected_of_another_selection(store: LocalStore) -> None:
    car = find_dataset("car")
    facts = {"source": car.origin, "identity": "abc", "read_from": "", "acquired": "2026-01-01"}
    selection = "**/BMW/**, where body_type=Saloon"
    write_json(store, keys.latest_origin("car"), Origin(**facts, selection=selection))
    pairs = CurrentPairs(fingerprint="abc", source=car.origin, train=5, val=1)
    swap_current(store, "car", pairs)
    assert format_num_pictures(get_status(store, car)) == "6"
    assert ("", f"selected {selection}") in describe_status(get_status(store, car))


@pytest.mark.parametrize(
    ("host_license", "expected"),
    [
        ("Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)", "CC BY-NC 4.0"),
        ("CC0: Public Domain", "CC0: Public…"),
        ("Unknown", "Unknown"),
    ],
)
def test_long_license_is_abbreviated(store: LocalStore, host_license: str, expected: str) -> None:
    panda = find_dataset("panda")
    facts = {"source": panda.origin, "identity": "abc", "read_from": "", "acquired": "2026-01-01"}
    write_json(
        store, keys.latest_origin("panda"), Origin(**facts, host_metadata={"licence": host_license})
    )
    status = get_status(store, panda)
    assert (format_license(status), status.license) == (expected, host_license)


def test_download_sizes_are_formatted(store: LocalStore) -> None:
    sizes = {
        name: format_download(get_status(store, find_dataset(name)))
        for name in ("cartoon", "shoes", "panda", "demo")
    }
    assert sizes == {"cartoon": "4.8 GB", "shoes": "2.2 GB", "panda": "?", "demo": "none"}
