import pytest

from errors import IntegrityError
from storage import LocalStore
from storage.registry import Run, checkpoint_name


def test_a_checkpoint_comes_back_checked(store: LocalStore) -> None:
    run = Run(store, "demo", "abc")
    assert run.checkpoints() == []
    run.put_checkpoint(2, 20, b"two", {"l1": 0.5})
    run.put_checkpoint(1, 10, b"one", {"l1": 0.7})
    assert [(r.epoch, r.step, r.metrics) for r in run.checkpoints()] == [
        (1, 10, {"l1": 0.7}),
        (2, 20, {"l1": 0.5}),
    ]
    assert run.get_checkpoint(run.checkpoints()[-1]) == b"two"


def test_bytes_without_a_record_are_no_checkpoint(store: LocalStore) -> None:
    run = Run(store, "demo", "abc")
    run.put(checkpoint_name(1), b"half written")
    assert run.checkpoints() == []


def test_damage_is_told(store: LocalStore) -> None:
    run = Run(store, "demo", "abc")
    run.put_checkpoint(1, 10, b"one", {})
    run.put(checkpoint_name(1), b"two")
    with pytest.raises(IntegrityError, match="epoch-0001"):
        run.get_checkpoint(run.checkpoints()[0])
    run.put("checkpoints/epoch-0002.json", b"?")
    with pytest.raises(IntegrityError, match="epoch-0002"):
        run.checkpoints()
