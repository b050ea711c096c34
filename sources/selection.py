"""Which of a source's files are taken, and whether there are as many as there should be."""

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

# What such a row was is no picture, or cannot be seen.
_UNREADABLE_REASONS = (RejectReason.NOT_A_PICTURE, RejectReason.UNDECODABLE, RejectReason.LINK)


@dataclass(frozen=True)
class Selection:
    """Which files of a source are taken.

    Attributes
    ----------
    fits : tells of a path whether it is.
    candidates : files that a choice was made from; None where none was made.
    """

    matches: Callable[[str], bool]
    num_candidates: int | None = None


def select_files(
    dataset: DatasetConfig, source: Source, names: frozenset[str] | None = None
) -> Selection:
    """Find out which files are taken: those of the patterns, of the tables, and by the choice.

    Parameters
    ----------
    dataset : its patterns, and its choice among the files that fit them.
    source : whose names are read where there is a choice, for it depends on all of them.
    names : of the pictures that tables choose; None for all.
    """
    patterns = compile_patterns(dataset.selection)

    def fits(path: str) -> bool:
        return patterns.match_file(path) and (names is None or normalize_name(path) in names)

    if dataset.choice is None and dataset.limit is None:
        return Selection(fits)
    candidates = [path for path in source.names() if fits(path)]
    chosen: Iterable[str] = candidates
    if dataset.choice is not None:
        chosen = draw_random_subset(chosen, dataset.choice)
    if dataset.limit is not None:
        chosen = draw_random_subset(chosen, RandomSubset(count=dataset.limit, seed=0))
    return Selection(frozenset(chosen).__contains__, len(candidates))


def describe_selection(dataset: DatasetConfig) -> str:
    """Return what is taken of a source, for a person."""
    taken = ", ".join(dataset.selection) if dataset.selection != ("**",) else "all"
    if dataset.where:
        values = (f"{column}={'/'.join(dataset.where[column])}" for column in dataset.where)
        taken += f", where {', '.join(values)}"
    if dataset.choice is not None:
        whole = "" if dataset.expected is None else f" of {dataset.expected:,}"
        taken += f", {dataset.choice.count:,}{whole} chosen with seed {dataset.choice.seed}"
    if dataset.limit is not None:
        taken += f", at most {dataset.limit:,}"
    return taken


def draw_random_subset(paths: Iterable[str], subset: RandomSubset) -> frozenset[str]:
    """Return as many of the paths as wanted: those with the lowest digests of seed and name.

    A path stands for its file's name alone, so that the same pictures are chosen from an archive,
    and from a folder that it was unpacked to; the whole path decides between equal names.
    """

    def rank(path: str) -> tuple[bytes, str]:
        name = PurePosixPath(path).name
        return hashlib.sha256(f"{subset.seed}:{name}".encode()).digest(), path

    return frozenset(sorted(paths, key=rank)[: subset.count])


def incomplete_error(dataset: DatasetConfig, short: list[str], refetch_advice: str) -> SourceError:
    """Return the error that says which pictures are missing, and what to do.

    ``to_ask_again`` is a sentence on how to get the host's archive anew, or nothing.
    """
    where = dataset.archive or dataset.source.title
    command = f"icanvas prepare {dataset.name}"
    sentences = (
        f"{dataset.name}: {where} is not complete: {', '.join(short)}.",
        refetch_advice,
        f"Give a complete copy with {command} --archive PATH, or go on with what is there: "
        "the same with --allow-partial.",
    )
    return SourceError(" ".join(filter(None, sentences)))


def compile_patterns(patterns: tuple[str, ...]) -> pathspec.PathSpec[Any]:
    """Return what tells whether a path fits patterns as in a .gitignore file."""
    return pathspec.PathSpec.from_lines("gitignore", patterns)


def compare_counts(
    dataset: DatasetConfig, rows: list[ManifestRow], candidates: int | None
) -> tuple[list[str], list[str]]:
    """Compare the pictures found with those expected, in all and in the parts.

    Parameters
    ----------
    dataset : what is expected; nothing where tables choose, or a limit was set.
    rows : what was found.
    candidates : files that a choice was made from; None where none was made, or nobody counted.

    Returns
    -------
    (short, over)
        A phrase for each count that is lower than expected, and for each that is higher.
    """
    if dataset.where or dataset.limit is not None:
        return [], []
    if dataset.choice is not None:
        found = [compare_candidates(dataset, candidates), _compare(rows, dataset.choice.count)]
    else:
        found = [_compare(rows, dataset.expected)]
        for pattern, count in dataset.expected_in.items():
            fits = compile_patterns((pattern,))
            part = [row for row in rows if fits.match_file(row.source_path)]
            found.append(_compare(part, count, f" in {pattern}"))
    return [phrase for short, _ in found for phrase in short], [
        phrase for _, over in found for phrase in over
    ]


def compare_candidates(
    dataset: DatasetConfig, candidates: int | None
) -> tuple[list[str], list[str]]:
    """Compare the files to choose from with those expected: another number, another choice."""
    if dataset.where or candidates is None or dataset.expected is None:
        return [], []
    return _format_count_warning(candidates, dataset.expected, "pictures to choose from")


def _compare(
    rows: list[ManifestRow], expected: int | None, where: str = ""
) -> tuple[list[str], list[str]]:
    if expected is None:
        return [], []
    lost = Counter(row.reason for row in rows if row.reason in _UNREADABLE_REASONS)
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in lost.items())
    what = f"pictures{where}" + (f" (and {reasons})" if lost else "")
    return _format_count_warning(len(rows) - sum(lost.values()), expected, what)


def _format_count_warning(found: int, expected: int, what: str) -> tuple[list[str], list[str]]:
    phrase = [f"{found:,} of {expected:,} {what}"]
    return phrase if found < expected else [], phrase if found > expected else []
