"""Renders the README of an export: license, origin and format of the pairs."""

import json
import re
from collections.abc import Mapping
from typing import Any

from config.dataset import LocalSource
from postprocess import PAIR_SIZE
from sources import DatasetConfig, format_license_name, format_license_terms
from storage import ObjectStore, keys
from storage.raw_sets import Origin, read_acceptance, read_origin
from tasks.export_formats import FormatName, list_shard_names

# Licenses whose identifier on the Hugging Face Hub can be derived from their name.
_HUB_LICENSES = re.compile(r"CC BY(-NC)?(-SA|-ND)? 4\.0")


def render_dataset_card(
    store: ObjectStore,
    dataset: DatasetConfig,
    fingerprint: str,
    settings: Mapping[str, Any],
    format_name: FormatName,
    splits: Mapping[str | None, int],
) -> str:
    """Render a README in Markdown, with the front matter of a Hugging Face data set card.

    The README contains no local paths, because exports are shared with others.

    Parameters
    ----------
    store : ObjectStore
        Store that contains the origin of the raw set and the accepted license.
    dataset : DatasetConfig
        Data set of the pairs.
    fingerprint : str
        Fingerprint of the pair set.
    settings : mapping of str to object
        Stored settings of the pair set.
    format_name : {'folder', 'hf', 'webdataset'}
        Format of the export.
    splits : mapping of str to int
        Number of pairs per split; keys ``train`` and ``val``.

    Returns
    -------
    str
        Content of the README.
    """
    title = " ".join(dataset.title.split())
    origin = read_origin(store, keys.raw_origin(dataset.name, settings["raw"]))
    license_name = format_license_name(dataset, origin)
    hub_license = (
        license_name.lower().replace(" ", "-") if _HUB_LICENSES.fullmatch(license_name) else "other"
    )
    details = _collect_details(store, dataset, fingerprint, settings, origin)
    table = "\n".join(f"| {name} | {_escape_cell(value)} |" for name, value in details)
    return f"""\
---
pretty_name: {json.dumps(title)}
license: {hub_license}
task_categories:
- image-to-image
---

# {title}

{splits.get("train", 0):,} pairs for training and {splits.get("val", 0):,} for validation: a line \
drawing, black on white, and its picture, {PAIR_SIZE}×{PAIR_SIZE} pixels each.

## License

{format_license_terms(dataset, origin)}

## Origin

| | |
|---|---|
{table}

## Format

{_FORMAT_DESCRIPTIONS[format_name].format(shards=_format_shard_names(splits))}

`id` is the number of the picture in its source, `source_path` its path there, `width` and \
`height` its original size in pixels, `edge_density` the share of line pixels in the drawing.
"""


def _collect_details(
    store: ObjectStore,
    dataset: DatasetConfig,
    fingerprint: str,
    settings: Mapping[str, Any],
    origin: Origin | None,
) -> list[tuple[str, object]]:
    details: list[tuple[str, object]] = []
    if not isinstance(dataset.source, LocalSource):
        details.append(("source", dataset.source.title))
    if dataset.homepage:
        details.append(("home page", dataset.homepage))
    if origin is not None:
        host = f" from {origin.read_from}" if "://" in origin.read_from else ""
        details += [("acquired", f"{origin.acquired}{host}"), ("SHA-256", origin.identity)]
        if origin.selection:
            details.append(("selection", origin.selection))
        details += [
            (f"{name}, stated by the host", value) for name, value in origin.host_metadata.items()
        ]
    acceptance = read_acceptance(store, dataset.name)
    if acceptance is not None:
        details.append(("license accepted", f"{acceptance.accepted}: {acceptance.license}"))
    if settings.get("stored") == "raw":
        details.append(("drawings", "published with the pictures"))
    else:
        threshold, weights = settings["edges"]["threshold"], settings["weights"]
        details.append(("drawings", f"HED edges, threshold {threshold:g}, weights {weights}"))
    details.append(("made by", f"icanvas, data set {dataset.name}, pair set {fingerprint}"))
    return details


def _escape_cell(value: object) -> str:
    return re.sub(r"([\\|*<`])", r"\\\1", " ".join(str(value).split()))


def _format_shard_names(splits: Mapping[str | None, int]) -> str:
    patterns = []
    for split in ("train", "val"):
        names = list_shard_names(split, splits.get(split, 0))
        if len(names) > 1:
            patterns.append(f"`{split}-{{{names[0][-10:-4]}..{names[-1][-10:-4]}}}.tar`")
        else:
            patterns += [f"`{name}`" for name in names]
    return " and ".join(patterns)


_FORMAT_DESCRIPTIONS: dict[FormatName, str] = {
    "folder": """\
`train/` and `val/` hold one JPEG per pair, 512×256 pixels, drawing on the left: the layout that \
pix2pix trainers read (pytorch-CycleGAN-and-pix2pix: `--dataroot` this folder, `--dataset_mode \
aligned`, `--direction AtoB`, and `--phase val` to test). `metadata.jsonl` has one line per \
pair.""",
    "hf": """\
Hugging Face's ImageFolder: `load_dataset("imagefolder", data_dir=…)` gives the columns `image` \
(the picture, JPEG) and `drawing` (PNG, grayscale, 0 on lines and 255 elsewhere).""",
    "webdataset": """\
WebDataset shards, {shards}: each sample has `drawing.png` (grayscale, 0 on lines and 255 \
elsewhere), `picture.jpg` and `json`.""",
}
