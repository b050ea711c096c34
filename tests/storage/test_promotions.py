import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from config.errors import ConflictError, IntegrityError, NotFoundError
from storage import LocalStore, ObjectStore, keys
from storage.promotions import (
    MAX_HISTORY,
    Promoted,
    export_files,
    list_promoted_datasets,
    read_promoted,
    swap_promoted,
)
from storage.runs import Run
from tests.storage.contents import make_promotion, promote_checkpoint, put_export_files


def put_checkpoints(store: ObjectStore, *epochs: int, run: str = "run") -> None:
    for epoch in epochs:
        Run(store, "demo", run).save_checkpoint(epoch, 10 * epoch, b"bytes", {})
        put_export_files(store, make_promotion(run, epoch))


def test_the_pointer_moves_and_remembers(store: LocalStore) -> None:
    put_checkpoints(store, 1, 2)
    assert read_promoted(store, "demo") is None
    first = swap_promoted(store, "demo", make_promotion(epoch=1), previous=None)
    second = swap_promoted(store, "demo", make_promotion(epoch=2), previous=first)
    assert read_promoted(store, "demo") == second
    assert (second.epoch, second.previous) == (2, (make_promotion(epoch=1),))
    third = swap_promoted(store, "demo", make_promotion(epoch=1), previous=second)
    assert [old.epoch for old in third.previous] == [2], "each once"


def test_the_history_has_an_end(store: LocalStore) -> None:
    epochs = range(1, MAX_HISTORY + 4)
    put_checkpoints(store, *epochs)
    for epoch in epochs:
        last = promote_checkpoint(store, epoch=epoch)
    assert [old.epoch for old in last.previous] == list(range(MAX_HISTORY + 2, 2, -1))


def test_who_serves_finds_what_is_promoted(any_store: ObjectStore) -> None:
    assert list_promoted_datasets(any_store) == []
    for name in ("panda", "demo"):
        Run(any_store, name, "run").save_checkpoint(1, 10, b"bytes", {})
        promote_checkpoint(any_store, dataset=name)
    Run(any_store, "shoes", "promoted.json").put("checkpoints/promoted.json", b"a run's odd name")
    assert list_promoted_datasets(any_store) == ["demo", "panda"]


def test_of_two_who_choose_at_once_one_wins(any_store: ObjectStore) -> None:
    put_checkpoints(any_store, 1, 2, 3)
    ready = threading.Barrier(2)

    def choose(epoch: int) -> Promoted | ConflictError:
        before = read_promoted(any_store, "demo")
        ready.wait()
        try:
            return swap_promoted(any_store, "demo", make_promotion(epoch=epoch), before)
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        for _ in range(25):
            before = read_promoted(any_store, "demo")
            others = [epoch for epoch in (1, 2, 3) if before is None or epoch != before.epoch]
            ended = list(pool.map(choose, others[:2]))
            won = [one for one in ended if isinstance(one, Promoted)]
            assert [read_promoted(any_store, "demo")] == won
            assert sum("promoted.json" in str(one) for one in ended) == 1


def test_who_chose_by_what_is_past_is_told(store: LocalStore) -> None:
    put_checkpoints(store, 1, 2)
    first = promote_checkpoint(store, epoch=1)
    second = first.model_copy(update={"epoch": 2})
    for past in (None, second):
        with pytest.raises(ConflictError, match=r"promoted\.json"):
            swap_promoted(store, "demo", make_promotion(epoch=2), previous=past)
    assert read_promoted(store, "demo") == first


def test_only_a_checkpoint_with_whole_files_is_promoted(store: LocalStore) -> None:
    put_checkpoints(store, 1)
    with pytest.raises(NotFoundError, match="card"):
        swap_promoted(store, "demo", make_promotion(epoch=2), previous=None)
    put_export_files(store, make_promotion(epoch=2))
    with pytest.raises(NotFoundError, match="epoch-0002"):
        swap_promoted(store, "demo", make_promotion(epoch=2), previous=None)
    assert read_promoted(store, "demo") is None


def test_back_needs_the_files_alone(store: LocalStore) -> None:
    put_checkpoints(store, 1, 2)
    promote_checkpoint(store, epoch=1)
    second = promote_checkpoint(store, epoch=2)
    run = Run(store, "demo", "run")
    run.invalidate(run.get_record(1))
    assert swap_promoted(store, "demo", second.previous[0], second).epoch == 1


@pytest.mark.parametrize(
    "gone",
    [
        "models/demo/run/checkpoints/epoch-0002.json",
        keys.export_card("demo", make_promotion(epoch=2).export),
        *export_files("demo", make_promotion(epoch=2)),
    ],
)
def test_what_went_meanwhile_is_told_and_the_pointer_put_back(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    put_checkpoints(store, 1, 2)
    first = promote_checkpoint(store, epoch=1)
    swap = store.compare_and_swap

    def removed_before(key: str, data: bytes, expected: bytes | None) -> None:
        store.delete(gone)
        swap(key, data, expected)

    monkeypatch.setattr(store, "compare_and_swap", removed_before)
    with pytest.raises(NotFoundError, match=gone.rpartition("/")[2]):
        swap_promoted(store, "demo", make_promotion(epoch=2), previous=first)
    assert read_promoted(store, "demo") == first


def test_damage_is_told(store: LocalStore) -> None:
    store.put("models/demo/promoted.json", b"{}")
    with pytest.raises(IntegrityError, match=r"promoted\.json"):
        read_promoted(store, "demo")
