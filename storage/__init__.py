"""Object storage: stores, keys, shards, manifests, pair sets, training runs and promotions."""

from storage.local import LocalStore
from storage.manifest import RejectReason
from storage.store import ObjectStore, open_store

__all__ = ["LocalStore", "ObjectStore", "RejectReason", "open_store"]
