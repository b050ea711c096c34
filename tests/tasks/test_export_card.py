from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sources import load_catalogue
from sources.catalogue import describe_path
from storage import LocalStore, keys
from storage.json_objects import write_json
from storage.raw_sets import LicenseAcceptance, Origin
from tasks.export_card import render_dataset_card

SPLITS: dict[str | None, int] = {"train": 2500, "val": 3}
PAIR_SETTINGS: Mapping[str, Any] = {
    "raw": "raw",
    "edges": {"threshold": 0.5},
    "weights": "keras:0123",
}


def write_origin(store: LocalStore, name: str, read_from: str, **fields: Any) -> None:
    origin = Origin(
        source="x", identity="5ha", read_from=read_from, acquired="2026-01-02", **fields
    )
    write_json(store, keys.raw_origin(name, "raw"), origin)


def test_card_states_license_and_origin(store: LocalStore) -> None:
    car = load_catalogue()["car"]
    write_origin(
        store, "car", "https://figshare.com/1", host_metadata={"licence": "CC | 4"}, selection="*a*"
    )
    acceptance = LicenseAcceptance(
        license="CC BY-NC 4.0. Research only.", homepage=None, accepted="2026-01-03"
    )
    write_json(store, keys.license_acceptance("car"), acceptance)
    card = render_dataset_card(store, car, "abc", PAIR_SETTINGS, "webdataset", SPLITS)
    assert card.startswith(f'---\npretty_name: "{car.title}"\nlicense: cc-by-nc-4.0\n')
    for part in (
        f"# {car.title}\n",
        "2,500 pairs for training and 3 for validation",
        "CC BY-NC 4.0. Research only. See https://deepvisualmarketing.github.io/",
        f"| source | {car.source.title} |",
        "| acquired | 2026-01-02 from https://figshare.com/1 |",
        r"| licence, stated by the host | CC \| 4 |",
        r"| selection | \*a\* |",
        "| license accepted | 2026-01-03: CC BY-NC 4.0. Research only. |",
        "threshold 0.5, weights keras:0123",
        "pair set abc",
        "`train-{000000..000002}.tar` and `val-000000.tar`",
    ):
        assert part in card, part


def test_card_contains_no_local_path(store: LocalStore) -> None:
    dataset = describe_path(Path("/home/ann/photos\n# of us"), "photos")
    write_origin(store, "photos", "/home/ann/photos")
    published = {"raw": "raw", "stored": "raw", "drawing": "left"}
    card = render_dataset_card(store, dataset, "abc", published, "folder", SPLITS)
    assert "ann" not in card.replace("channel", "")
    assert "\n# photos # of us\n" in card
    assert "license: other\n" in card
    assert "not stated." in card
    assert "| drawings | published with the pictures |" in card
    assert "| source |" not in card


@pytest.mark.parametrize("name", sorted(load_catalogue()))
def test_card_of_each_catalogue_entry_states_its_license(store: LocalStore, name: str) -> None:
    dataset = load_catalogue()[name]
    card = render_dataset_card(store, dataset, "abc", PAIR_SETTINGS, "hf", {})
    assert dataset.license in card
    assert (dataset.terms or "") in card
    license_line = next(line for line in card.splitlines() if line.startswith("license: "))
    assert (license_line == "license: other") == (not dataset.license.startswith("CC "))
