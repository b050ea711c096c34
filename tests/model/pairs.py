"""Small pair sets, published like those of `prepare` but without HED."""

import json
import tempfile

import numpy as np
from numpy.typing import NDArray

from postprocess import edge_density, encode_png, join_pair
from storage import ObjectStore, keys
from storage.manifest import ManifestRow, rows_to_parquet
from storage.shards import ShardWriter
from tests.conftest import draw_scene


def make_pair(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a pair's drawing (uint8 256×256) and picture (uint8 256×256×3)."""
    picture = draw_scene(number, 256, 256)
    lines = np.abs(np.diff(picture.astype(int), axis=0, append=0)).sum(2) > 60
    return np.where(lines, np.uint8(0), np.uint8(255)), picture


def publish_test_pairs(
    store: ObjectStore, splits: str, dataset: str = "tiny", name: str = "pairs"
) -> None:
    """Publish one row per letter of ``splits``: t for train, v for val, r for rejected."""
    folder = keys.pairs_folder(dataset, name)
    rows = []
    names = {"t": "train", "v": "val"}
    for letter, split in names.items():
        with tempfile.TemporaryFile() as file:
            with ShardWriter(file) as shard:
                for number in (i for i, kind in enumerate(splits) if kind == letter):
                    drawing, picture = make_pair(number)
                    pair = encode_png(join_pair(drawing, picture))
                    row = ManifestRow(f"{number:08d}", f"{number}.png", 0, "pair", split=split)
                    row.offset, row.size = shard.add(f"{number}.png", pair), len(pair)
                    row.width, row.height = 256, 256
                    row.edge_density = edge_density(drawing)
                    rows.append(row)
            store.put_file(f"{folder}/{keys.shard_name(0, split)}", file)
    rows += [
        ManifestRow(f"{i:08d}", f"{i}.txt", 0, "rejected", reason="not_a_picture")
        for i, kind in enumerate(splits)
        if kind == "r"
    ]
    rows.sort(key=lambda row: row.id)
    settings = {"raw": "raw", "edges": {"threshold": 0.5}, "weights": "keras:0123"}
    store.put(keys.pair_settings(dataset, name), json.dumps(settings).encode())
    store.put(f"{folder}/manifest.parquet", rows_to_parquet(rows))
