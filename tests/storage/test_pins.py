from datetime import timedelta

import pytest

from config.errors import ConflictError, IntegrityError
from storage import LocalStore, keys
from storage.gc_lock import hold_gc_lock
from storage.pins import ensure_pinned, pin
from tests.storage.contents import interfere_before_call


def test_pinning_conflicts_while_gc_deletes(store: LocalStore) -> None:
    store.put(keys.manifest("demo", "abc"), b"")
    ensure_pinned(store, "demo", "abc")
    with hold_gc_lock(store, [keys.pairs_folder("demo", "abc")], timedelta(0)):
        with pytest.raises(ConflictError, match=r"abc is being deleted by `icanvas gc`"):
            pin(store, "demo", "abc", {})
        with pytest.raises(ConflictError, match=r"abc is being deleted by `icanvas gc`"):
            ensure_pinned(store, "demo", "abc")
    store.delete(keys.manifest("demo", "abc"))
    pin(store, "demo", "abc", {})
    with pytest.raises(IntegrityError, match=r"abc of demo was deleted.*icanvas prepare demo"):
        ensure_pinned(store, "demo", "abc")


def test_ensure_pinned_notices_gc_that_ends_meanwhile(store: LocalStore) -> None:
    store.put(keys.manifest("demo", "abc"), b"")
    removal = hold_gc_lock(store, [keys.pairs_folder("demo", "abc")], timedelta(0))
    removal.__enter__()

    def end() -> None:
        store.delete(keys.manifest("demo", "abc"))
        removal.__exit__(None, None, None)

    with pytest.raises(ConflictError, match="is being deleted"):
        ensure_pinned(interfere_before_call(store, 1, end), "demo", "abc")
