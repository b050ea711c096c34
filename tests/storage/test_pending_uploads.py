"""The list of pending uploads, and their order."""

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


def test_pending_uploads_are_listed_by_run_and_store(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICANVAS_CACHE", str(tmp_path / "cache"))
    get_settings.cache_clear()
    assert list_pending(store) == []
    local = LocalStore(pending_folder(store))
    for run, sizes in (("aaaa", (3, 4)), ("bbbb", (5,))):
        for number, size in enumerate(sizes):
            local.put(f"{keys.run_folder('demo', run)}/{number}.bin", bytes(size))
    assert list_pending(store) == [
        PendingUpload("demo", run, local.location(keys.run_folder("demo", run)), size)
        for run, size in (("aaaa", 7), ("bbbb", 5))
    ]
    other = LocalStore(tmp_path / "other")
    assert list_pending(other) == [], "it waits for another store"


@given(st.sets(st.sampled_from(FILES), min_size=1), st.permutations(FILES), st.integers(0, 7))
def test_upload_order_puts_bytes_before_records_and_failures_last(
    pending: set[str], order: list[str], count: int
) -> None:
    failed = [key for key in order[:count] if key in pending]
    remaining, uploaded = set(pending), []
    while remaining:
        uploaded.append(next_upload(remaining, [key for key in failed if key in remaining]))
        remaining.remove(uploaded[-1])
    assert set(uploaded) == pending
    for position, key in enumerate(uploaded):
        if is_checkpoint_record(key):
            assert f"{key.removesuffix('.json')}.pt" not in uploaded[position:]
    not_failed = [key for key in uploaded if key not in failed]
    checkpoints = [key for key in not_failed if "checkpoints" in key and key.endswith(".pt")]
    assert checkpoints == sorted(checkpoints, reverse=True), "the newest checkpoint goes first"
    others = [key for key in not_failed if "checkpoints" not in key]
    assert uploaded[: len(others)] == others, "samples and metrics go first"
