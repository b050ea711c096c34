"""Which picture data sets exist, and how their pictures get into the store."""

from config.dataset import DataSet
from sources.catalogue import change, find, load_catalogue
from sources.ingest import RawSet, acquire, check_own, read_raw
from sources.licenses import check_licence, name_licence, state_licence
from sources.options import Choices, EdgeChoices, make_choices
from sources.pictures import RejectedPicture, decode_picture
from sources.prepared import find_prepared, read_current_of
from sources.repair import forget_if_damaged
from sources.sketches import find_sketches, read_sketches
from sources.status import describe, find_state, list_states
from sources.updates import Finding, look_for_newer

__all__ = [
    "Choices",
    "DataSet",
    "EdgeChoices",
    "Finding",
    "RawSet",
    "RejectedPicture",
    "acquire",
    "change",
    "check_licence",
    "check_own",
    "decode_picture",
    "describe",
    "find",
    "find_prepared",
    "find_sketches",
    "find_state",
    "forget_if_damaged",
    "list_states",
    "load_catalogue",
    "look_for_newer",
    "make_choices",
    "name_licence",
    "read_current_of",
    "read_raw",
    "read_sketches",
    "state_licence",
]
