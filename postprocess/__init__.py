"""Edge probabilities to line drawings to pairs, and sketches to line drawings. NumPy in and out."""

from postprocess.clean import clean_edges
from postprocess.contact_sheet import encode_jpeg, make_contact_sheet
from postprocess.fit import downscale_edges, edge_resolution, fit_picture, pad_to_square
from postprocess.line_f1 import LineMatchCounts, compare_drawings
from postprocess.pair import (
    PAIR_SIZE,
    DrawingSide,
    decode_pair,
    detect_drawing_sides,
    edge_density,
    encode_png,
    join_pair,
    split_pair,
)
from postprocess.sketch import compute_extent, normalize_sketch
from postprocess.strokes import Points, draw_strokes, pack_strokes, trace_strokes, unpack_strokes

__all__ = [
    "PAIR_SIZE",
    "DrawingSide",
    "LineMatchCounts",
    "Points",
    "clean_edges",
    "compare_drawings",
    "compute_extent",
    "decode_pair",
    "detect_drawing_sides",
    "downscale_edges",
    "draw_strokes",
    "edge_density",
    "edge_resolution",
    "encode_jpeg",
    "encode_png",
    "fit_picture",
    "join_pair",
    "make_contact_sheet",
    "normalize_sketch",
    "pack_strokes",
    "pad_to_square",
    "split_pair",
    "trace_strokes",
    "unpack_strokes",
]
