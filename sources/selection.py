"""Selection of a source's files, and comparison of their number with the expected one."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pathspec

from config.dataset import DatasetConfig, RandomSubset
from config.errors import SourceError
from sources.archives import Source
from sources.tables import normalize_name
from storage import RejectReason
from storage.manifest import ManifestRow

# Rows that do not count as pictures.
_UNREADABLE_REASONS = (RejectReason.NOT_A_PICTURE, RejectReason.UNDECODABLE, RejectReason.LINK)


@dataclass(frozen=True)
class Selection:
    """The selected files of a source.

    Attributes
    ----------
    matches : callable
        Returns whether the file at a path is selected.
    num_candidates : int or None
        Number of files from which a random subset was drawn; None without a subset.
    """

    matches: Callable[[str], bool]
    num_candidates: int | None = None


def select_files(
    dataset: DatasetConfig, source: Source, names: frozenset[str] | None = None
) -> Selection:
    """Select files by patterns, by tables and by a random subset.

    Parameters
    ----------
    dataset : DatasetConfig
        Its selection, random subset and limit are used.
    source : Source
        Its names are read if a subset is drawn, because a subset depends on all names.
    names : frozenset of str or None
        Normalized names of the pictures that the tables select; None for all.

    Returns
    -------
    Selection
        The selected files.
    """
    patterns = compile_patterns(dataset.selection)

    def matches(path: str) -> bool:
        return patterns.match_file(path) and (names is None or normalize_name(path) in names)

    if dataset.choice is None and dataset.limit is None:
        return Selection(matches)
    candidates = [path for path in source.names() if matches(path)]
    selected: Iterable[str] = candidates
    if dataset.choice is not None:
        selected = draw_random_subset(selected, dataset.choice)
    if dataset.limit is not None:
        selected = draw_random_subset(selected, RandomSubset(count=dataset.limit, seed=0))
    return Selection(frozenset(selected).__contains__, len(candidates))


def describe_selection(dataset: DatasetConfig) -> str:
    """Describe which files of a data set are selected.

    The text is stored with a raw set and compared with that of the catalogue.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set.

    Returns
    -------
    str
        Patterns, column values, random subset and limit.
    """
    text = ", ".join(dataset.selection) if dataset.selection != ("**",) else "all"
    if dataset.where:
        values = (f"{column}={'/'.join(dataset.where[column])}" for column in dataset.where)
        text += f", where {', '.join(values)}"
    if dataset.choice is not None:
        total = "" if dataset.expected is None else f" of {dataset.expected:,}"
        text += f", {dataset.choice.count:,}{total} chosen with seed {dataset.choice.seed}"
    if dataset.limit is not None:
        text += f", at most {dataset.limit:,}"
    return text


def draw_random_subset(paths: Iterable[str], subset: RandomSubset) -> frozenset[str]:
    """Draw the paths with the lowest hashes of seed and file name.

    Only the file name is hashed, so that an archive and a folder that it was unpacked to give the
    same pictures. The path decides between equal names.

    Parameters
    ----------
    paths : iterable of str
        Candidates.
    subset : RandomSubset
        Number of paths and seed.

    Returns
    -------
    frozenset of str
        ``subset.count`` paths, or all if there are fewer.
    """

    def sort_key(path: str) -> tuple[bytes, str]:
        name = PurePosixPath(path).name
        return hashlib.sha256(f"{subset.seed}:{name}".encode()).digest(), path

    return frozenset(sorted(paths, key=sort_key)[: subset.count])


def incomplete_error(
    dataset: DatasetConfig, shortfalls: list[str], refetch_advice: str
) -> SourceError:
    """Return the error for a source with fewer pictures than expected.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set.
    shortfalls : list of str
        One phrase for each count that is too low.
    refetch_advice : str
        Sentence on how to download the archive again, or "".

    Returns
    -------
    SourceError
        Error that names the missing pictures and says what to do.
    """
    where = dataset.archive or dataset.source.title
    command = f"icanvas prepare {dataset.name}"
    sentences = (
        f"{dataset.name}: {where} is not complete: {', '.join(shortfalls)}.",
        refetch_advice,
        f"Give a complete copy with {command} --archive PATH, or use the existing pictures by "
        "running the same with --allow-partial.",
    )
    return SourceError(" ".join(filter(None, sentences)))


def compile_patterns(patterns: tuple[str, ...]) -> pathspec.PathSpec[Any]:
    """Compile patterns of the .gitignore format.

    Parameters
    ----------
    patterns : tuple of str
        Patterns.

    Returns
    -------
    pathspec.PathSpec
        Its ``match_file`` returns whether a path matches.
    """
    return pathspec.PathSpec.from_lines("gitignore", patterns)


def compare_counts(
    dataset: DatasetConfig, rows: list[ManifestRow], num_candidates: int | None
) -> tuple[list[str], list[str]]:
    """Compare the number of pictures with the expected one, in total and by pattern.

    Parameters
    ----------
    dataset : DatasetConfig
        Expected numbers. Nothing is expected of a selection by tables or with a limit.
    rows : list of ManifestRow
        Rows of the raw set.
    num_candidates : int or None
        Number of files from which a random subset was drawn; None without a subset or if unknown.

    Returns
    -------
    shortfalls : list of str
        One phrase for each count that is lower than expected.
    excesses : list of str
        One phrase for each count that is higher than expected.
    """
    if dataset.where or dataset.limit is not None:
        return [], []
    if dataset.choice is not None:
        comparisons = [
            compare_candidates(dataset, num_candidates),
            _compare(rows, dataset.choice.count),
        ]
    else:
        comparisons = [_compare(rows, dataset.expected)]
        for pattern, count in dataset.expected_in.items():
            compiled = compile_patterns((pattern,))
            matching = [row for row in rows if compiled.match_file(row.source_path)]
            comparisons.append(_compare(matching, count, f" in {pattern}"))
    return [phrase for shortfalls, _ in comparisons for phrase in shortfalls], [
        phrase for _, excesses in comparisons for phrase in excesses
    ]


def compare_candidates(
    dataset: DatasetConfig, num_candidates: int | None
) -> tuple[list[str], list[str]]:
    """Compare the number of candidates of a random subset with the expected one.

    Another number of candidates gives another subset.

    Parameters
    ----------
    dataset : DatasetConfig
        Expected number.
    num_candidates : int or None
        Number of candidates; None if unknown.

    Returns
    -------
    shortfalls : list of str
        One phrase if there are fewer candidates than expected.
    excesses : list of str
        One phrase if there are more candidates than expected.
    """
    if dataset.where or num_candidates is None or dataset.expected is None:
        return [], []
    return _format_count_warning(num_candidates, dataset.expected, "pictures to choose from")


def _compare(
    rows: list[ManifestRow], expected: int | None, where: str = ""
) -> tuple[list[str], list[str]]:
    if expected is None:
        return [], []
    unreadable = Counter(row.reason for row in rows if row.reason in _UNREADABLE_REASONS)
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in unreadable.items())
    what = f"pictures{where}" + (f" (and {reasons})" if unreadable else "")
    return _format_count_warning(len(rows) - sum(unreadable.values()), expected, what)


def _format_count_warning(actual: int, expected: int, what: str) -> tuple[list[str], list[str]]:
    phrase = [f"{actual:,} of {expected:,} {what}"]
    return phrase if actual < expected else [], phrase if actual > expected else []
