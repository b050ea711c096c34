import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from errors import ConflictError, IntegrityError, NotFoundError
from storage import LocalStore, ObjectStore
from storage.promotion import Promoted, read_promoted, swap_promoted
from storage.registry import Run


def put_checkpoints(store: ObjectStore, *epochs: int, run: str = "run") -> None:
    for epoch in epochs:
        Run(store, "demo", run).put_checkpoint(epoch, 10 * epoch, b"bytes", {})


def chosen(epoch: int) -> Promoted:
    return Promoted(run="run", epoch=epoch, sha256="0" * 64)


def test_the_pointer_moves(store: LocalStore) -> None:
    put_checkpoints(store, 1, 2)
    assert read_promoted(store, "demo") is None
    swap_promoted(store, "demo", chosen(1), before=None)
    swap_promoted(store, "demo", chosen(2), before=chosen(1))
    assert read_promoted(store, "demo") == chosen(2)


def test_of_two_who_choose_at_once_one_wins(any_store: ObjectStore) -> None:
    put_checkpoints(any_store, 1, 2, 3)
    ready = threading.Barrier(2)

    def choose(choice: Promoted) -> Promoted | ConflictError:
        before = read_promoted(any_store, "demo")
        ready.wait()
        try:
            swap_promoted(any_store, "demo", choice, before)
            return choice
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        for _ in range(25):
            before = read_promoted(any_store, "demo")
            others = [chosen(epoch) for epoch in (1, 2, 3) if chosen(epoch) != before]
            ended = list(pool.map(choose, others[:2]))
            won = [one for one in ended if isinstance(one, Promoted)]
            assert [read_promoted(any_store, "demo")] == won
            assert sum("promoted.json" in str(one) for one in ended) == 1


def test_who_chose_by_what_is_past_is_told(store: LocalStore) -> None:
    put_checkpoints(store, 1, 2)
    swap_promoted(store, "demo", chosen(1), before=None)
    for past in (None, chosen(2)):
        with pytest.raises(ConflictError, match=r"promoted\.json"):
            swap_promoted(store, "demo", chosen(2), before=past)
    assert read_promoted(store, "demo") == chosen(1)


def test_only_a_checkpoint_is_promoted(store: LocalStore) -> None:
    put_checkpoints(store, 1)
    with pytest.raises(NotFoundError, match="epoch-0002"):
        swap_promoted(store, "demo", chosen(2), before=None)
    assert read_promoted(store, "demo") is None


def test_a_checkpoint_that_went_meanwhile_is_told_and_the_pointer_put_back(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_checkpoints(store, 1, 2)
    swap_promoted(store, "demo", chosen(1), before=None)
    swap = store.compare_and_swap

    def removed_before(key: str, data: bytes, expected: bytes | None) -> None:
        store.delete("models/demo/run/checkpoints/epoch-0002.json")
        swap(key, data, expected)

    monkeypatch.setattr(store, "compare_and_swap", removed_before)
    with pytest.raises(NotFoundError, match="epoch-0002"):
        swap_promoted(store, "demo", chosen(2), before=chosen(1))
    assert read_promoted(store, "demo") == chosen(1)


def test_damage_is_told(store: LocalStore) -> None:
    store.put("models/demo/promoted.json", b"{}")
    with pytest.raises(IntegrityError, match=r"promoted\.json"):
        read_promoted(store, "demo")
