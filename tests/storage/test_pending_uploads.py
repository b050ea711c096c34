"""What is listed as waiting, and the order that it goes in."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import get_settings
from storage import LocalStore, keys
from storage.pending_uploads import (
    PendingUpload,
    is_checkpoint_record,
    list_pending,
    next_upload,
    pending_folder,
)

FOLDER = keys.run_folder("demo", "run")
FILES = [
    *(
        f"{FOLDER}/checkpoints/epoch-{number:04d}.{kind}"
        for number in (1, 2)
        for kind in ("pt", "json")
    ),
    *(f"{FOLDER}/{name}" for name in ("metrics.jsonl", "recipe.json", "samples/epoch-0001.jpg")),
]


def test_what_waits_is_listed_by_run_and_by_store(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICANVAS_CACHE", str(tmp_path / "cache"))
    get_settings.cache_clear()
    assert list_pending(store) == []
    here = LocalStore(pending_folder(store))
    for run, sizes in (("aaaa", (3, 4)), ("bbbb", (5,))):
        for number, size in enumerate(sizes):
            here.put(f"{keys.run_folder('demo', run)}/{number}.bin", bytes(size))
    assert list_pending(store) == [
        PendingUpload("demo", run, here.location(keys.run_folder("demo", run)), size)
        for run, size in (("aaaa", 7), ("bbbb", 5))
    ]
    other = LocalStore(tmp_path / "other")
    assert list_pending(other) == [], "it waits for another store"


@given(st.sets(st.sampled_from(FILES), min_size=1), st.permutations(FILES), st.integers(0, 7))
def test_all_go_bytes_before_their_record_and_what_was_refused_last(
    waiting: set[str], order: list[str], count: int
) -> None:
    refused = [key for key in order[:count] if key in waiting]
    left, gone = set(waiting), []
    while left:
        gone.append(next_upload(left, [key for key in refused if key in left]))
        left.remove(gone[-1])
    assert set(gone) == waiting
    for place, key in enumerate(gone):
        if is_checkpoint_record(key):
            assert f"{key.removesuffix('.json')}.pt" not in gone[place:]
    fresh = [key for key in gone if key not in refused]
    new = [key for key in fresh if "checkpoints" in key and key.endswith(".pt")]
    assert new == sorted(new, reverse=True), "the newest checkpoint goes first"
    first = [key for key in fresh if "checkpoints" not in key]
    assert gone[: len(first)] == first, "samples and metrics go first"
