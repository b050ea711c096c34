"""Edge probabilities to clean drawings to side-by-side pairs. NumPy in, NumPy out."""

from postprocess.clean import clean_edges
from postprocess.fit import centre, fit_picture
from postprocess.pair import (
    PAIR_SIZE,
    decode_pair,
    edge_density,
    encode_pair,
    join_pair,
    recognise_pair,
    split_pair,
)
from postprocess.sheet import encode_jpeg, make_sheet

__all__ = [
    "PAIR_SIZE",
    "centre",
    "clean_edges",
    "decode_pair",
    "edge_density",
    "encode_jpeg",
    "encode_pair",
    "fit_picture",
    "join_pair",
    "make_sheet",
    "recognise_pair",
    "split_pair",
]
