"""Where bytes live: the object store, its keys, shards, manifests and the checkpoint registry."""

from storage.local import LocalStore
from storage.manifest import RejectReason
from storage.store import ObjectStore, open_store

__all__ = ["LocalStore", "ObjectStore", "RejectReason", "open_store"]
