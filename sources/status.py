"""How far a data set is, and what to do next."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from config.dataset import DatasetConfig, LocalSource
from sources.catalogue import describe_path, load_catalogue
from sources.licenses import format_license_name, is_accepted_by_setting
from sources.selection import describe_selection
from storage import ObjectStore, keys
from storage.pair_sets import CurrentPairs, list_prepared_datasets, read_current
from storage.raw_sets import LicenseAcceptance, Origin, read_acceptance, read_origin
from storage.runs import has_checkpoint


@dataclass(frozen=True)
class DatasetStatus:
    """How far a data set is.

    Attributes
    ----------
    dataset : which one.
    stage : what was done last.
    origin : where its files came from; None where it is not acquired.
    pairs : the pair set in use; None where there is none.
    acceptance : of its licence; None where it was not accepted, or need not be.
    """

    dataset: DatasetConfig
    stage: Literal["not acquired", "acquired", "prepared", "trained"]
    origin: Origin | None
    pairs: CurrentPairs | None
    acceptance: LicenseAcceptance | None

    @property
    def num_pairs(self) -> int | None:
        """How many pairs are in use, where that is known."""
        if self.pairs is None or self.pairs.train is None or self.pairs.val is None:
            return None
        return self.pairs.train + self.pairs.val

    @property
    def has_own_selection(self) -> bool:
        """Whether other files were taken than the catalogue says, as with ``--where``."""
        taken = "" if self.origin is None else self.origin.selection
        return taken not in ("", describe_selection(self.dataset))

    @property
    def license(self) -> str:
        """Its licence, as far as known."""
        return format_license_name(self.dataset, self.origin)

    @property
    def needs_acceptance(self) -> bool:
        """Whether the licence is still to be accepted."""
        needs = self.dataset.restricted and self.acceptance is None
        return needs and not is_accepted_by_setting(self.dataset)

    @property
    def next_command(self) -> str:
        """The command to run next."""
        name = self.dataset.name
        match self.stage:
            case "not acquired" | "acquired":
                return f"icanvas prepare {name}"
            case "prepared":
                return f"icanvas train {name}"
        return f"icanvas train {name} --force"


def get_status(store: ObjectStore, dataset: DatasetConfig) -> DatasetStatus:
    """Look up how far a data set is."""
    name = dataset.name
    origin = read_origin(store, keys.latest_origin(name))
    pairs = read_current(store, name)
    stage: Literal["not acquired", "acquired", "prepared", "trained"] = "not acquired"
    if has_checkpoint(store, name):
        stage = "trained"
    elif pairs is not None:
        stage = "prepared"
    elif origin is not None:
        stage = "acquired"
    return DatasetStatus(dataset, stage, origin, pairs, read_acceptance(store, name))


def list_statuses(store: ObjectStore) -> list[DatasetStatus]:
    """Return the state of every data set of the catalogue, and of every own one."""
    catalogue = load_catalogue()
    own = [name for name in list_prepared_datasets(store) if name not in catalogue]
    states = [get_status(store, entry) for entry in catalogue.values()]
    for name in own:
        current = read_current(store, name)
        if current is not None:
            states.append(get_status(store, describe_path(Path(current.source), name)))
    return states


def describe_status(status: DatasetStatus) -> list[tuple[str, str]]:
    """Return what there is to know of a data set, as names and values for a person."""
    dataset, origin, pairs = status.dataset, status.origin, status.pairs
    source = dataset.source
    facts = [("what", dataset.title), ("source", source.title)]
    if not isinstance(source, LocalSource):
        facts.append(("archive", source.page))
    if dataset.homepage:
        facts.append(("homepage", dataset.homepage))
    facts.append(("license", " · ".join(filter(None, (dataset.license, dataset.terms)))))
    if status.acceptance is not None:
        facts.append(("", f"accepted {status.acceptance.accepted}"))
    facts += [
        ("pictures", _describe_num_files(dataset)),
        ("taken", describe_selection(dataset)),
        ("download", format_download(status)),
        ("edges", _describe_edges(dataset)),
        ("square", f"{dataset.geometry.mode}, enlarged {dataset.geometry.enlarge}"),
    ]
    recipe = dataset.recipe.model_dump(exclude_unset=True)
    facts.append(("recipe", ", ".join(f"{key}={recipe[key]}" for key in recipe) or "defaults"))
    if origin is not None:
        facts.append(("acquired", f"{origin.acquired} from {origin.read_from}"))
        if status.has_own_selection:
            facts.append(("", f"of it {origin.selection}"))
        facts += [
            ("", f"{key}, as its host says: {origin.host_metadata[key]}")
            for key in origin.host_metadata
        ]
    if pairs is not None:
        counts = f": {pairs.train:,} training, {pairs.val:,} validation" if status.num_pairs else ""
        facts.append(("pairs", f"{pairs.fingerprint}{counts}"))
    following = status.next_command
    if status.stage == "not acquired" and status.needs_acceptance:
        following += " --accept-license"
    return [*facts, ("state", status.stage), ("next", following)]


def format_download(status: DatasetStatus) -> str:
    """Return how much there is, or was, to fetch, as a person reads it: ``4.8 GB``."""
    source = status.dataset.source
    if isinstance(source, LocalSource):
        return "none"
    count = source.expected_bytes or (None if status.origin is None else status.origin.size)
    if count is None:
        return "?"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def format_license(status: DatasetStatus, max_length: int = 12) -> str:
    """Return the licence in so many characters: ``CC BY-NC 4.0`` of its long name, if that fits."""
    license_name = status.license
    if len(license_name) > max_length and (short := re.search(r"\((CC[^)]+)\)", license_name)):
        license_name = short[1]
    return (
        license_name
        if len(license_name) <= max_length
        else f"{license_name[: max_length - 1].rstrip()}…"
    )


def format_num_pictures(status: DatasetStatus) -> str:
    """Return how many pictures there should be, and how many became pairs: ``290 of 300``."""
    dataset = status.dataset
    expected = "?" if dataset.num_files is None else f"{dataset.num_files:,}"
    made = status.num_pairs
    if status.pairs is not None and dataset.paired and dataset.expected_in:
        # Of published pairs only the number for training is known.
        made = status.pairs.train
    if made is None:
        return expected
    if status.has_own_selection:
        # Another choice was made, as with --where: nothing is expected of that.
        return f"{made:,}"
    return f"{made:,}" if expected == "?" else f"{made:,} of {expected}"


def _describe_num_files(dataset: DatasetConfig) -> str:
    if dataset.num_files is None:
        return "not known"
    text = f"{dataset.num_files:,}"
    if dataset.choice is not None:
        text += " (--all takes every one)"
    elif dataset.expected_in:
        parts = (f"{count:,} in {pattern}" for pattern, count in dataset.expected_in.items())
        text = ", ".join(parts) if dataset.expected is None else f"{text} ({', '.join(parts)})"
    return text


def _describe_edges(dataset: DatasetConfig) -> str:
    if not dataset.needs_edges:
        return "published drawings (--re-extract finds its own)"
    threshold = dataset.edges.threshold
    return "threshold " + ("of the weights" if threshold is None else f"{threshold:g}")
