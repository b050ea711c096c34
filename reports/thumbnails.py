"""Thumbnails of rejected pictures, so that people can check what was rejected."""

from dataclasses import dataclass

import cv2
import numpy as np

from postprocess import encode_jpeg
from sources import DatasetConfig, RejectedPicture, decode_picture
from storage import ObjectStore, RejectReason, keys
from storage.manifest import ManifestRow, rows_from_parquet
from storage.shards import read_member

# Pictures that were rejected for these reasons can be decoded from the raw shards.
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
    """A small rejected picture.

    Attributes
    ----------
    row : ManifestRow
        Its row in the manifest.
    jpeg : bytes
        JPEG, at most 96 px a side.
    """

    row: ManifestRow
    jpeg: bytes


def render_thumbnails(
    dataset: DatasetConfig, raw_folder: str, rows: list[ManifestRow], store: ObjectStore
) -> list[Thumbnail]:
    """Render up to 24 rejected pictures, grouped by reason and selected evenly for each.

    Parameters
    ----------
    dataset : DatasetConfig
    raw_folder : str
        Key of the raw set's folder.
    rows : list of ManifestRow
        The manifest.
    store : ObjectStore
        Contains the raw set.

    Returns
    -------
    list of Thumbnail
    """
    groups = [[row for row in rows if row.reason == reason] for reason in _DECODABLE_REASONS]
    groups = [group for group in groups if group]
    thumbnails = []
    for group in groups:
        count = min(_MAX_THUMBNAILS // len(groups), len(group))
        for index in np.linspace(0, len(group) - 1, count).round().astype(int):
            jpeg = _render_thumbnail(dataset, raw_folder, group[index], store)
            if jpeg is not None:
                thumbnails.append(Thumbnail(group[index], jpeg))
    return thumbnails


def _render_thumbnail(
    dataset: DatasetConfig, raw_folder: str, row: ManifestRow, store: ObjectStore
) -> bytes | None:
    """Render a rejected picture from its raw shard; None if it is missing there."""
    raw_rows = rows_from_parquet(store.get(f"{raw_folder}/{keys.part_name(row.shard)}"))
    raw = next(candidate for candidate in raw_rows if candidate.id == row.id)
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
