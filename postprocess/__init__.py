"""Edge probabilities to clean drawings to side-by-side pairs. NumPy in, NumPy out."""

from postprocess.clean import clean_edges
from postprocess.contact_sheet import encode_jpeg, make_sheet
from postprocess.fit import centre, detail_side, fit_picture, reduce_map
from postprocess.line_f1 import Agreement, compare_drawings
from postprocess.pair import (
    PAIR_SIZE,
    Side,
    decode_pair,
    drawing_sides,
    edge_density,
    encode_png,
    join_pair,
    split_pair,
)
from postprocess.sketch import drawing_extent, normalise_sketch
from postprocess.strokes import Points, draw_strokes, pack_strokes, trace_strokes, unpack_strokes

__all__ = [
    "PAIR_SIZE",
    "Agreement",
    "Points",
    "Side",
    "centre",
    "clean_edges",
    "compare_drawings",
    "decode_pair",
    "detail_side",
    "draw_strokes",
    "drawing_extent",
    "drawing_sides",
    "edge_density",
    "encode_jpeg",
    "encode_png",
    "fit_picture",
    "join_pair",
    "make_sheet",
    "normalise_sketch",
    "pack_strokes",
    "reduce_map",
    "split_pair",
    "trace_strokes",
    "unpack_strokes",
]
