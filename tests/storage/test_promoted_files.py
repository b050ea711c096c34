import hashlib
from typing import Any

import pytest

from config.errors import CorruptObjectError, NotFoundError
from storage import LocalStore, ObjectStore, keys
from storage.promoted_files import Example, read_example, read_onnx, read_weights, write_export
from storage.promotions import Promotion
from tests.storage.contents import make_promotion

EXAMPLES = [Example(b"drawing", b"picture"), Example(b"another", b"its own")]


def put(store: ObjectStore, weights: bytes = b"weights", network: bytes = b"network") -> Promotion:
    stored = write_export(store, "demo", weights, network, b"{}", EXAMPLES)
    fields: dict[str, Any] = vars(stored)
    return make_promotion().model_copy(update=fields)


def test_export_round_trip(any_store: ObjectStore) -> None:
    promotion = put(any_store)
    assert promotion.weights == hashlib.sha256(b"weights").hexdigest()
    assert read_weights(any_store, "demo", promotion) == b"weights"
    assert read_onnx(any_store, "demo", promotion) == b"network"
    assert promotion.examples == 2
    assert read_example(any_store, "demo", promotion, 1, "drawing") == b"another"
    assert read_example(any_store, "demo", promotion, 0, "picture") == b"picture"
    with pytest.raises(NotFoundError):
        read_example(any_store, "demo", promotion, 2, "drawing")


def test_export_name_depends_on_both_files(store: LocalStore) -> None:
    names = {put(store, *files).export for files in [(b"a", b"b"), (b"a", b"c"), (b"d", b"b")]} | {
        put(store, b"a", b"b").export
    }
    assert len(names) == 3


def test_card_is_written_last(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    put_object = store.put

    def record_key(key: str, data: bytes) -> None:
        order.append(key)
        put_object(key, data)

    monkeypatch.setattr(store, "put", record_key)
    promotion = put(store)
    assert order[-1] == keys.export_card("demo", promotion.export)
    assert len(order) == 7


def test_corrupt_export_file_raises_error(store: LocalStore) -> None:
    promotion = put(store)
    folder = keys.export_folder("demo", promotion.export)
    for name in ("generator.safetensors", "generator.onnx"):
        store.put(f"{folder}/{name}", b"weight")
    for read in (read_weights, read_onnx):
        with pytest.raises(CorruptObjectError, match="Promote the checkpoint again"):
            read(store, "demo", promotion)


def test_card_is_not_written_if_verification_fails(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "get", lambda key: b"spoilt")
    with pytest.raises(CorruptObjectError):
        put(store)
    assert not [key for key in store.list_keys("models") if key.endswith("card.json")]
