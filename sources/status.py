"""The status of a data set: its last completed stage, its facts and the next command."""

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
    """The status of a data set.

    Attributes
    ----------
    dataset : DatasetConfig
        The data set.
    stage : {"not acquired", "acquired", "prepared", "trained"}
        Last completed stage.
    origin : Origin or None
        Where its files came from; None if it is not acquired.
    pairs : CurrentPairs or None
        The current pair set; None if it is not prepared.
    acceptance : LicenseAcceptance or None
        Record of the accepted license; None if no license was accepted.
    """

    dataset: DatasetConfig
    stage: Literal["not acquired", "acquired", "prepared", "trained"]
    origin: Origin | None
    pairs: CurrentPairs | None
    acceptance: LicenseAcceptance | None

    @property
    def num_pairs(self) -> int | None:
        """Number of pairs in the current pair set; None if unknown."""
        if self.pairs is None or self.pairs.train is None or self.pairs.val is None:
            return None
        return self.pairs.train + self.pairs.val

    @property
    def has_own_selection(self) -> bool:
        """Whether the acquired files were selected by other options than the catalogue's."""
        selection = "" if self.origin is None else self.origin.selection
        return selection not in ("", describe_selection(self.dataset))

    @property
    def license(self) -> str:
        """License, as far as known."""
        return format_license_name(self.dataset, self.origin)

    @property
    def needs_acceptance(self) -> bool:
        """Whether the license still has to be accepted."""
        is_missing = self.dataset.restricted and self.acceptance is None
        return is_missing and not is_accepted_by_setting(self.dataset)

    @property
    def next_command(self) -> str:
        """Command for the next stage."""
        name = self.dataset.name
        match self.stage:
            case "not acquired" | "acquired":
                return f"icanvas prepare {name}"
            case "prepared":
                return f"icanvas train {name}"
        return f"icanvas train {name} --force"


def get_status(store: ObjectStore, dataset: DatasetConfig) -> DatasetStatus:
    """Read the status of a data set from the store.

    Parameters
    ----------
    store : ObjectStore
        Store to read from.
    dataset : DatasetConfig
        The data set.

    Returns
    -------
    DatasetStatus
        Its status.
    """
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
    """List the status of all data sets of the catalogue and of all other prepared ones.

    Parameters
    ----------
    store : ObjectStore
        Store to read from.

    Returns
    -------
    list of DatasetStatus
        Catalogue entries first.
    """
    catalogue = load_catalogue()
    other_names = [name for name in list_prepared_datasets(store) if name not in catalogue]
    statuses = [get_status(store, entry) for entry in catalogue.values()]
    for name in other_names:
        current = read_current(store, name)
        if current is not None:
            statuses.append(get_status(store, describe_path(Path(current.source), name)))
    return statuses


def describe_status(status: DatasetStatus) -> list[tuple[str, str]]:
    """Describe a data set for display.

    Parameters
    ----------
    status : DatasetStatus
        Its status.

    Returns
    -------
    list of (str, str)
        Labels and values; an empty label continues the one before.
    """
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
        ("selected", describe_selection(dataset)),
        ("download", format_download(status)),
        ("edges", _describe_edges(dataset)),
        ("square", f"{dataset.geometry.mode}, enlarged {dataset.geometry.enlarge}"),
    ]
    recipe = dataset.recipe.model_dump(exclude_unset=True)
    facts.append(("recipe", ", ".join(f"{key}={recipe[key]}" for key in recipe) or "defaults"))
    if origin is not None:
        facts.append(("acquired", f"{origin.acquired} from {origin.read_from}"))
        if status.has_own_selection:
            facts.append(("", f"selected {origin.selection}"))
        facts += [
            ("", f"{key} according to the host: {origin.host_metadata[key]}")
            for key in origin.host_metadata
        ]
    if pairs is not None:
        counts = f": {pairs.train:,} training, {pairs.val:,} validation" if status.num_pairs else ""
        facts.append(("pairs", f"{pairs.fingerprint}{counts}"))
    command = status.next_command
    if status.stage == "not acquired" and status.needs_acceptance:
        command += " --accept-license"
    return [*facts, ("state", status.stage), ("next", command)]


def format_download(status: DatasetStatus) -> str:
    """Format the size of a data set's download.

    Parameters
    ----------
    status : DatasetStatus
        Status of the data set.

    Returns
    -------
    str
        Size such as ``4.8 GB``, ``none`` for a local source, or ``?``.
    """
    source = status.dataset.source
    if isinstance(source, LocalSource):
        return "none"
    count = source.expected_bytes or (None if status.origin is None else status.origin.size)
    if count is None:
        return "?"
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"


def format_license(status: DatasetStatus, max_length: int = 12) -> str:
    """Format the license within a maximum length.

    Parameters
    ----------
    status : DatasetStatus
        Status of the data set.
    max_length : int, characters
        Maximum length.

    Returns
    -------
    str
        Full name, or the abbreviation in it such as ``CC BY-NC 4.0``, or the truncated name.
    """
    license_name = status.license
    if len(license_name) > max_length and (short := re.search(r"\((CC[^)]+)\)", license_name)):
        license_name = short[1]
    return (
        license_name
        if len(license_name) <= max_length
        else f"{license_name[: max_length - 1].rstrip()}…"
    )


def format_num_pictures(status: DatasetStatus) -> str:
    """Format the number of pairs and the expected number of pictures.

    Parameters
    ----------
    status : DatasetStatus
        Status of the data set.

    Returns
    -------
    str
        ``290 of 300``, or one of the numbers where the other does not apply, or ``?``.
    """
    dataset = status.dataset
    expected = "?" if dataset.num_files is None else f"{dataset.num_files:,}"
    num_pairs = status.num_pairs
    if status.pairs is not None and dataset.paired and dataset.expected_in:
        # For published pairs only the number of training pairs is expected.
        num_pairs = status.pairs.train
    if num_pairs is None:
        return expected
    if status.has_own_selection:
        # The expected number does not apply to another selection, as with --where.
        return f"{num_pairs:,}"
    return f"{num_pairs:,}" if expected == "?" else f"{num_pairs:,} of {expected}"


def _describe_num_files(dataset: DatasetConfig) -> str:
    if dataset.num_files is None:
        return "not known"
    text = f"{dataset.num_files:,}"
    if dataset.choice is not None:
        text += " (--all selects all)"
    elif dataset.expected_in:
        parts = (f"{count:,} in {pattern}" for pattern, count in dataset.expected_in.items())
        text = ", ".join(parts) if dataset.expected is None else f"{text} ({', '.join(parts)})"
    return text


def _describe_edges(dataset: DatasetConfig) -> str:
    if not dataset.needs_edges:
        return "published drawings (--re-extract extracts new ones)"
    threshold = dataset.edges.threshold
    return "threshold " + ("of the weights" if threshold is None else f"{threshold:g}")
