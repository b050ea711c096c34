import pytest

from errors import ConflictError, IntegrityError, NotFoundError
from storage import LocalStore
from storage.pairsets import CurrentPairs, is_published, read_current, read_manifest, swap_current


def test_the_pointer_moves(store: LocalStore) -> None:
    assert read_current(store, "demo") is None
    for chosen in (CurrentPairs(fingerprint="a"), CurrentPairs(fingerprint="b", revision=2)):
        swap_current(store, "demo", chosen)
        swap_current(store, "demo", chosen)
        assert read_current(store, "demo") == chosen


def test_a_pointer_that_moved_meanwhile_is_left_alone(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap = store.compare_and_swap

    def other_is_first(key: str, data: bytes, expected: bytes | None) -> None:
        store.put(key, CurrentPairs(fingerprint="theirs").model_dump_json().encode())
        swap(key, data, expected)

    monkeypatch.setattr(store, "compare_and_swap", other_is_first)
    with pytest.raises(ConflictError):
        swap_current(store, "demo", CurrentPairs(fingerprint="ours"))
    assert read_current(store, "demo") == CurrentPairs(fingerprint="theirs")


def test_a_damaged_pointer_is_told(store: LocalStore) -> None:
    store.put("datasets/demo/pairs/current.json", b"{}")
    with pytest.raises(IntegrityError, match=r"current\.json"):
        read_current(store, "demo")


def test_what_is_not_published_is_told(store: LocalStore) -> None:
    assert not is_published(store, "demo", "abc")
    with pytest.raises(NotFoundError, match="icanvas prepare demo"):
        read_manifest(store, "demo", "abc")
