"""Picture data sets: the catalogue, and the import of their files into the store."""

from config.dataset import DatasetConfig
from sources.catalogue import apply_options, find_dataset, load_catalogue
from sources.ingest import RawSet, acquire, check_local_inputs, read_raw
from sources.licenses import check_license, format_license_name, format_license_terms
from sources.options import EdgeOptions, PrepareOptions, make_options
from sources.pictures import RejectedPicture, decode_picture
from sources.prepared import find_prepared_dataset, read_current_pairs
from sources.repair import delete_corrupt_shard
from sources.sketches import load_sketches, read_sketches
from sources.status import describe_status, get_status, list_statuses
from sources.updates import UpdateStatus, check_for_update

__all__ = [
    "DatasetConfig",
    "EdgeOptions",
    "PrepareOptions",
    "RawSet",
    "RejectedPicture",
    "UpdateStatus",
    "acquire",
    "apply_options",
    "check_for_update",
    "check_license",
    "check_local_inputs",
    "decode_picture",
    "delete_corrupt_shard",
    "describe_status",
    "find_dataset",
    "find_prepared_dataset",
    "format_license_name",
    "format_license_terms",
    "get_status",
    "list_statuses",
    "load_catalogue",
    "load_sketches",
    "make_options",
    "read_current_pairs",
    "read_raw",
    "read_sketches",
]
