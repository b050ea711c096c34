"""Small pictures of what was rejected, so that a person sees what was thrown away."""

from dataclasses import dataclass

import cv2
import numpy as np

from postprocess import encode_jpeg
from sources import DatasetConfig, RejectedPicture, decode_picture
from storage import ObjectStore, RejectReason, keys
from storage.manifest import ManifestRow, rows_from_parquet
from storage.shards import read_member

# Of these the pixels are known, and kept in the raw shards.
_DECODABLE_REASONS = (
    RejectReason.BLANK_EDGES,
    RejectReason.TOO_SMALL,
    RejectReason.ASPECT,
    RejectReason.NOT_A_PAIR,
)
_MAX_THUMBNAILS = 24
_MAX_SIZE = 96


@dataclass(frozen=True)
class Thumbnail:
    """A rejected picture, small.

    Attributes
    ----------
    row : its row in the manifest.
    jpeg : at most 96 px a side.
    """

    row: ManifestRow
    jpeg: bytes


def render_thumbnails(
    dataset: DatasetConfig, raw_folder: str, rows: list[ManifestRow], store: ObjectStore
) -> list[Thumbnail]:
    """Return up to 24 rejected pictures, by reason, and taken evenly from all of a reason.

    Parameters
    ----------
    dataset, raw_folder : whose pictures they are, and the key of their raw set's folder.
    rows : the manifest.
    store : holds the raw set.
    """
    groups = [[row for row in rows if row.reason == reason] for reason in _DECODABLE_REASONS]
    groups = [group for group in groups if group]
    shown = []
    for group in groups:
        count = min(_MAX_THUMBNAILS // len(groups), len(group))
        for index in np.linspace(0, len(group) - 1, count).round().astype(int):
            jpeg = _render_thumbnail(dataset, raw_folder, group[index], store)
            if jpeg is not None:
                shown.append(Thumbnail(group[index], jpeg))
    return shown


def _render_thumbnail(
    dataset: DatasetConfig, raw_folder: str, row: ManifestRow, store: ObjectStore
) -> bytes | None:
    """Return a rejected picture from the raw shard as a small JPEG; None where it is not there."""
    part = rows_from_parquet(store.get(f"{raw_folder}/{keys.part_name(row.shard)}"))
    raw = next(found for found in part if found.id == row.id)
    if raw.offset is None or raw.size is None:
        return None
    shard = f"{raw_folder}/{keys.shard_name(row.shard)}"
    content = read_member(store, shard, raw.offset, raw.size)
    try:
        picture = decode_picture(
            content, row.source_path, dataset.geometry.background_rgb, dataset.max_pixels
        )
    except RejectedPicture:
        return None
    height, width = picture.shape[:2]
    scale = min(1.0, _MAX_SIZE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return encode_jpeg(small.astype(np.uint8, copy=False), quality=80)
