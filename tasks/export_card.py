"""What goes with exported pairs: whose they are, where they came from, how they are read."""

import json
import re
from collections.abc import Mapping
from typing import Any

from config.dataset import LocalSource
from postprocess import PAIR_SIZE
from sources import DataSet, name_licence, state_licence
from storage import ObjectStore, keys
from storage.raw_sets import Origin, read_acceptance, read_origin
from tasks.export_formats import FormatName, shard_names

# Licences that the Hub knows under a name that can be told.
_KNOWN = re.compile(r"CC BY(-NC)?(-SA|-ND)? 4\.0")


def write_card(
    store: ObjectStore,
    dataset: DataSet,
    fingerprint: str,
    settings: Mapping[str, Any],
    form: FormatName,
    splits: Mapping[str | None, int],
) -> str:
    """Return a README in Markdown, with the head that makes it a data set card of the Hub.

    No path of this machine is in it: an export is made to be passed on.

    Parameters
    ----------
    store : holds what is known of the source.
    dataset, fingerprint, settings : which pair set, and what it was made with.
    form : the export's format.
    splits : how many pairs ``train`` and ``val`` have.
    """
    title = " ".join(dataset.title.split())
    origin = read_origin(store, keys.raw_origin(dataset.name, settings["raw"]))
    licence = name_licence(dataset, origin)
    known = licence.lower().replace(" ", "-") if _KNOWN.fullmatch(licence) else "other"
    facts = _facts(store, dataset, fingerprint, settings, origin)
    table = "\n".join(f"| {name} | {_cell(value)} |" for name, value in facts)
    return f"""\
---
pretty_name: {json.dumps(title)}
license: {known}
task_categories:
- image-to-image
---

# {title}

{splits.get("train", 0):,} pairs for training and {splits.get("val", 0):,} for validation: a line \
drawing, black on white, and its picture, {PAIR_SIZE}×{PAIR_SIZE} pixels each.

## Licence

{state_licence(dataset, origin)}

## Origin

| | |
|---|---|
{table}

## Format

{_FORMATS[form].format(shards=_span(splits))}

`id` is the picture's number in its source, `source_path` its path there, `width` and `height` its \
size there in pixels, `edge_density` the share of line pixels in the drawing.
"""


def _facts(
    store: ObjectStore,
    dataset: DataSet,
    fingerprint: str,
    settings: Mapping[str, Any],
    origin: Origin | None,
) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = []
    if not isinstance(dataset.source, LocalSource):
        facts.append(("source", dataset.source.title))
    if dataset.homepage:
        facts.append(("home page", dataset.homepage))
    if origin is not None:
        place = f" from {origin.read_from}" if "://" in origin.read_from else ""
        facts += [("acquired", f"{origin.acquired}{place}"), ("SHA-256", origin.identity)]
        if origin.taken:
            facts.append(("taken", origin.taken))
        facts += [(f"{name}, as the host states", value) for name, value in origin.stated.items()]
    acceptance = read_acceptance(store, dataset.name)
    if acceptance is not None:
        facts.append(("licence accepted", f"{acceptance.accepted}: {acceptance.licence}"))
    if settings.get("stored") == "raw":
        facts.append(("drawings", "as published, beside their pictures"))
    else:
        threshold, weights = settings["edges"]["threshold"], settings["weights"]
        facts.append(("drawings", f"HED's edges, threshold {threshold:g}, weights {weights}"))
    facts.append(("made by", f"icanvas, data set {dataset.name}, pair set {fingerprint}"))
    return facts


def _cell(value: object) -> str:
    return re.sub(r"([\\|*<`])", r"\\\1", " ".join(str(value).split()))


def _span(splits: Mapping[str | None, int]) -> str:
    spans = []
    for split in ("train", "val"):
        names = shard_names(split, splits.get(split, 0))
        if len(names) > 1:
            spans.append(f"`{split}-{{{names[0][-10:-4]}..{names[-1][-10:-4]}}}.tar`")
        else:
            spans += [f"`{name}`" for name in names]
    return " and ".join(spans)


_FORMATS: dict[FormatName, str] = {
    "folder": """\
`train/` and `val/` hold a JPEG of 512×256 pixels a pair, the drawing left, as pix2pix's trainers \
read them (pytorch-CycleGAN-and-pix2pix: `--dataroot` this folder, `--dataset_mode aligned`, \
`--direction AtoB`, and `--phase val` to test). `metadata.jsonl` has a line a pair.""",
    "hf": """\
Hugging Face's ImageFolder: `load_dataset("imagefolder", data_dir=…)` gives the columns `image` \
(the picture, JPEG) and `drawing` (PNG, grey, 0 on lines and 255 elsewhere).""",
    "webdataset": """\
WebDataset's tars, {shards}: each sample has `drawing.png` (grey, 0 on lines and 255 elsewhere), \
`picture.jpg` and `json`.""",
}
