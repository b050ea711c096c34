"""Which picture data sets exist, and how their pictures get into the store."""

from datasets.acquire import RawSet, acquire
from datasets.catalogue import DataSet, find, load_catalogue
from datasets.pictures import RejectedPicture, decode_picture
from datasets.prepared import find_prepared, read_current_of

__all__ = [
    "DataSet",
    "RawSet",
    "RejectedPicture",
    "acquire",
    "decode_picture",
    "find",
    "find_prepared",
    "load_catalogue",
    "read_current_of",
]
