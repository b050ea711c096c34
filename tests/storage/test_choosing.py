import pytest

from config.errors import NotFoundError
from storage import LocalStore, keys
from storage.choosing import list_published, use_pairs
from storage.manifest import Row, write_rows
from storage.pair_sets import CurrentPairs, read_current, swap_current
from storage.pins import claim
from storage.raw_sets import Origin, write

OLD, NEW, CUT = "0" * 12, "1" * 12, "2" * 12


@pytest.fixture
def two_sets(store: LocalStore) -> LocalStore:
    """A store with two published sets, the newer in use, and one that was never finished."""
    for name, splits in ((OLD, ("train", "val")), (NEW, ("train",)), (CUT, ())):
        claim(store, "some", name, {"raw": "r", "edges": {"threshold": 0.5}})
        rows = [
            Row(id=f"{n:08d}", source_path=f"{n}.png", shard=0, status="pair", split=split)
            for n, split in enumerate(splits)
        ]
        if rows:
            store.put(keys.manifest("some", name), write_rows(rows))
    origin = Origin(source="/photos", identity="", read_from="/photos", acquired="2026-01-01")
    write(store, keys.raw_origin("some", "r"), origin)
    swap_current(store, "some", CurrentPairs(fingerprint=NEW, source="/photos", train=1, val=0))
    return store


def test_going_back_is_one_call(two_sets: LocalStore) -> None:
    assert {it.fingerprint: it.in_use for it in list_published(two_sets, "some")} == {
        NEW: True,
        OLD: False,
    }
    chosen = use_pairs(two_sets, "some", OLD)
    assert chosen == CurrentPairs(fingerprint=OLD, source="/photos", train=1, val=1)
    assert read_current(two_sets, "some") == chosen
    assert use_pairs(two_sets, "some", OLD) == chosen
    assert use_pairs(two_sets, "some", NEW).fingerprint == NEW


@pytest.mark.parametrize("name", [CUT, "f" * 12])
def test_what_is_not_complete_cannot_be_used(two_sets: LocalStore, name: str) -> None:
    with pytest.raises(NotFoundError, match=rf"no complete pair set '{name}'.*{OLD}"):
        use_pairs(two_sets, "some", name)
    current = read_current(two_sets, "some")
    assert current is not None and current.fingerprint == NEW
