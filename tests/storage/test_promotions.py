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


def test_swap_promoted_moves_pointer_and_extends_history(store: LocalStore) -> None:
    put_checkpoints(store, 1, 2)
    assert read_promoted(store, "demo") is None
    first = swap_promoted(store, "demo", make_promotion(epoch=1), previous=None)
    second = swap_promoted(store, "demo", make_promotion(epoch=2), previous=first)
    assert read_promoted(store, "demo") == second
    assert (second.epoch, second.previous) == (2, (make_promotion(epoch=1),))
    third = swap_promoted(store, "demo", make_promotion(epoch=1), previous=second)
    assert [old.epoch for old in third.previous] == [2], "each once"


def test_history_is_bounded(store: LocalStore) -> None:
    epochs = range(1, MAX_HISTORY + 4)
    put_checkpoints(store, *epochs)
    for epoch in epochs:
        last = promote_checkpoint(store, epoch=epoch)
    assert [old.epoch for old in last.previous] == list(range(MAX_HISTORY + 2, 2, -1))


def test_list_promoted_datasets_is_sorted(any_store: ObjectStore) -> None:
    assert list_promoted_datasets(any_store) == []
    for name in ("panda", "demo"):
        Run(any_store, name, "run").save_checkpoint(1, 10, b"bytes", {})
        promote_checkpoint(any_store, dataset=name)
    Run(any_store, "shoes", "promoted.json").put("checkpoints/promoted.json", b"a run's odd name")
    assert list_promoted_datasets(any_store) == ["demo", "panda"]


def test_one_of_two_concurrent_promotions_wins(any_store: ObjectStore) -> None:
    put_checkpoints(any_store, 1, 2, 3)
    ready = threading.Barrier(2)

    def choose(epoch: int) -> Promoted | ConflictError:
        previous = read_promoted(any_store, "demo")
        ready.wait()
        try:
            return swap_promoted(any_store, "demo", make_promotion(epoch=epoch), previous)
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        for _ in range(25):
            previous = read_promoted(any_store, "demo")
            others = [epoch for epoch in (1, 2, 3) if previous is None or epoch != previous.epoch]
            results = list(pool.map(choose, others[:2]))
            winners = [result for result in results if isinstance(result, Promoted)]
            assert [read_promoted(any_store, "demo")] == winners
            assert sum("promoted.json" in str(result) for result in results) == 1


def test_swap_promoted_with_outdated_previous_conflicts(store: LocalStore) -> None:
    put_checkpoints(store, 1, 2)
    first = promote_checkpoint(store, epoch=1)
    second = first.model_copy(update={"epoch": 2})
    for outdated in (None, second):
        with pytest.raises(ConflictError, match=r"promoted\.json"):
            swap_promoted(store, "demo", make_promotion(epoch=2), previous=outdated)
    assert read_promoted(store, "demo") == first


def test_promotion_requires_complete_files(store: LocalStore) -> None:
    put_checkpoints(store, 1)
    with pytest.raises(NotFoundError, match="card"):
        swap_promoted(store, "demo", make_promotion(epoch=2), previous=None)
    put_export_files(store, make_promotion(epoch=2))
    with pytest.raises(NotFoundError, match="epoch-0002"):
        swap_promoted(store, "demo", make_promotion(epoch=2), previous=None)
    assert read_promoted(store, "demo") is None


def test_rollback_needs_only_the_exported_files(store: LocalStore) -> None:
    put_checkpoints(store, 1, 2)
    promote_checkpoint(store, epoch=1)
    second = promote_checkpoint(store, epoch=2)
    run = Run(store, "demo", "run")
    run.invalidate(run.get_record(1))
    assert swap_promoted(store, "demo", second.previous[0], second).epoch == 1


@pytest.mark.parametrize(
    "deleted_key",
    [
        "models/demo/run/checkpoints/epoch-0002.json",
        keys.export_card("demo", make_promotion(epoch=2).export),
        *export_files("demo", make_promotion(epoch=2)),
    ],
)
def test_pointer_is_restored_if_a_file_is_deleted_meanwhile(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, deleted_key: str
) -> None:
    put_checkpoints(store, 1, 2)
    first = promote_checkpoint(store, epoch=1)
    swap = store.compare_and_swap

    def delete_before_swap(key: str, data: bytes, expected: bytes | None) -> None:
        store.delete(deleted_key)
        swap(key, data, expected)

    monkeypatch.setattr(store, "compare_and_swap", delete_before_swap)
    with pytest.raises(NotFoundError, match=deleted_key.rpartition("/")[2]):
        swap_promoted(store, "demo", make_promotion(epoch=2), previous=first)
    assert read_promoted(store, "demo") == first


def test_corrupt_pointer_raises_integrity_error(store: LocalStore) -> None:
    store.put("models/demo/promoted.json", b"{}")
    with pytest.raises(IntegrityError, match=r"promoted\.json"):
        read_promoted(store, "demo")
