"""A small pair set, published as `prepare` would, without HED's cost."""

import json
import tempfile

import numpy as np

from postprocess import encode_pair, join_pair
from storage import LocalStore, keys
from storage.manifest import Row, write_rows
from storage.shards import ShardWriter
from tests.conftest import draw_scene


def publish(store: LocalStore, splits: str, dataset: str = "tiny", name: str = "pairs") -> None:
    """Publish one pair for every letter of ``splits``: t for train, v for val, r for rejected."""
    folder = keys.pairs_folder(dataset, name)
    rows = []
    names = {"t": "train", "v": "val"}
    for letter, split in names.items():
        with tempfile.TemporaryFile() as file:
            with ShardWriter(file) as shard:
                for number in (i for i, found in enumerate(splits) if found == letter):
                    picture = draw_scene(number, 256, 256)
                    lines = np.abs(np.diff(picture.astype(int), axis=0, append=0)).sum(2) > 60
                    drawing = np.where(lines, np.uint8(0), np.uint8(255))
                    pair = encode_pair(join_pair(drawing, picture))
                    row = Row(f"{number:08d}", f"{number}.png", 0, "pair", split=split)
                    row.offset, row.size = shard.add(f"{number}.png", pair), len(pair)
                    rows.append(row)
            store.put_file(f"{folder}/{keys.shard_name(0, split)}", file)
    rows += [
        Row(f"{i:08d}", f"{i}.txt", 0, "rejected", reason="not_a_picture")
        for i, found in enumerate(splits)
        if found == "r"
    ]
    rows.sort(key=lambda row: row.id)
    store.put(keys.pair_settings(dataset, name), json.dumps({"raw": "raw"}).encode())
    store.put(f"{folder}/manifest.parquet", write_rows(rows))
