"""Which picture data sets exist, and how their pictures get into the store."""

from datasets.acquire import RawSet, acquire, check_own, read_raw
from datasets.catalogue import change, find, load_catalogue
from datasets.choices import Choices, EdgeChoices, make_choices
from datasets.entry import DataSet
from datasets.licences import check_licence, name_licence, state_licence
from datasets.newest import Finding, look_for_newer
from datasets.overview import describe, find_state, list_states
from datasets.pictures import RejectedPicture, decode_picture
from datasets.prepared import find_prepared, read_current_of
from datasets.repair import forget_if_damaged
from datasets.sketches import find_sketches, read_sketches

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
