from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.dataset import DatasetConfig, RandomSubset
from sources import find_dataset
from sources.archives import SourceFile
from sources.selection import compare_candidates, compare_counts, draw_random_subset, select_files
from storage import RejectReason
from storage.manifest import ManifestRow


@dataclass(frozen=True)
class EmptyFiles:
    """A source of empty files with these paths."""

    paths: tuple[str, ...]

    def identity(self, progress: object) -> str:
        return "x"

    def names(self) -> Iterator[str]:
        yield from self.paths

    def files(self) -> Iterator[SourceFile]:
        for path in self.paths:
            yield SourceFile(path, 0, bytes)


def dataset_of(tmp_path: Path, **changes: object) -> DatasetConfig:
    return find_dataset(str(tmp_path)).model_copy(update=changes)


def selected_paths(
    dataset: DatasetConfig, *paths: str, names: frozenset[str] | None = None
) -> list[str]:
    source = EmptyFiles(paths)
    selection = select_files(dataset, source, names)
    return [file.path for file in source.files() if selection.matches(file.path)]


@pytest.mark.parametrize(
    ("name", "selected", "others"),
    [
        (
            "panda",
            ["PandasBears/Train/Pandas/a.jpeg", "PandasBears/Test/Pandas/a.jpeg", "Pandas/b.jpg"],
            ["PandasBears/Train/Bears/a.jpeg", "notes.txt"],
        ),
        (
            "car",
            ["resized_DVM/BMW/5 Series/2019/Red/x.jpg", "BMW/7 Series/1995/Blue/y.jpg"],
            ["resized_DVM/BMW/5 Series Gran Turismo/2019/Red/x.jpg", "resized_DVM/Audi/A4/x.jpg"],
        ),
        ("cartoon", ["cartoonset100k/0/cs1.png", "cs2.png"], ["cartoonset100k/0/cs1.csv"]),
        (
            "shoes",
            ["edges2shoes/train/1_AB.jpg", "edges2shoes/val/1_AB.jpg", "train/7_AB.jpg"],
            ["edges2shoes/test/1_AB.jpg", "edges2shoes/train/notes.txt"],
        ),
        ("handbags", ["edges2handbags/train/9_AB.jpg", "val/1_AB.jpg"], ["edges2handbags/x.txt"]),
        ("maplestory", ["a/1.PNG", "2.webp"], []),
        ("space", ["deep/field.JPG", "m31.tif"], []),
        ("gemstone", ["train/Aventurine Green/a.jpg", "test/Ruby/a.jpg"], ["readme.md"]),
    ],
)
def test_each_data_set_selects_its_pictures(
    name: str, selected: list[str], others: list[str]
) -> None:
    dataset = find_dataset(name).model_copy(update={"choice": None})
    assert selected_paths(dataset, *selected, *others) == selected


def test_subset_depends_on_file_names_only(tmp_path: Path) -> None:
    names = [f"cs{number}.png" for number in range(100)]
    subset = RandomSubset(count=10, seed=0)
    drawn = draw_random_subset(names, subset)
    assert len(drawn) == 10
    assert draw_random_subset(reversed(names), subset) == drawn
    in_folder = draw_random_subset((f"deep/{name}" for name in names), subset)
    assert in_folder == {f"deep/{name}" for name in drawn}
    assert draw_random_subset(names, RandomSubset(count=10, seed=1)) != drawn


def test_subset_of_a_seed_is_stable() -> None:
    """A published seed must give the same pictures in every version."""
    drawn = draw_random_subset(
        (f"cs{number}.png" for number in range(10)), RandomSubset(count=3, seed=0)
    )
    assert sorted(drawn) == EXPECTED_SUBSET


EXPECTED_SUBSET = ["cs2.png", "cs6.png", "cs7.png"]


@given(st.sets(st.text(min_size=1), max_size=30), st.integers(1, 40), st.integers(0, 9))
def test_subset_has_the_count_or_all(paths: set[str], count: int, seed: int) -> None:
    drawn = draw_random_subset(paths, RandomSubset(count=count, seed=seed))
    assert drawn <= paths
    assert len(drawn) == min(count, len(paths))


def test_subset_is_in_the_order_of_the_source(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, choice=RandomSubset(count=3, seed=0), selection=("*.png",))
    paths = [f"{number}.png" for number in (9, 1, 5, 3, 7)] + ["1.csv"]
    selected = selected_paths(dataset, *paths)
    assert len(selected) == 3
    assert selected == [path for path in paths if path in selected]


def test_another_number_of_candidates_is_reported(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, choice=RandomSubset(count=2, seed=0), expected=3)
    for paths, expected in (
        ("ab", (["2 of 3"], [])),
        ("abc", ([], [])),
        ("abcd", ([], ["4 of 3"])),
    ):
        candidates = select_files(dataset, EmptyFiles(tuple(paths))).num_candidates
        assert candidates == len(paths)
        shortfalls, excesses = compare_candidates(dataset, candidates)
        assert ([text[:6] for text in shortfalls], [text[:6] for text in excesses]) == expected
        assert compare_counts(dataset, rows("a", "b"), candidates) == (shortfalls, excesses)


def test_tables_select_before_the_subset(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, choice=RandomSubset(count=2, seed=0))
    paths = [f"{number}.jpg" for number in range(9)]
    assert selected_paths(dataset, *paths, names=frozenset({"3.jpg", "7.jpg"})) == [
        "3.jpg",
        "7.jpg",
    ]


def test_tables_select_by_file_name(tmp_path: Path) -> None:
    names = frozenset({"Vauxhall$$Dont$$1.jpg"})
    paths = ("x/Vauxhall$$Don't$$1.jpg", "x/Vauxhall$$Dont$$2.jpg")
    assert selected_paths(dataset_of(tmp_path), *paths, names=names) == [paths[0]]


def rows(*paths: str, reason: RejectReason | None = None) -> list[ManifestRow]:
    result = [ManifestRow(id=path, source_path=path, shard=0) for path in paths]
    for row in result:
        if reason is not None:
            row.reject(reason, "")
    return result


def test_counts_are_compared_in_total_and_by_pattern(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, expected=3, expected_in={"**/train/*": 2, "**/val/*": 1})
    complete = rows("a/train/1", "a/train/2", "a/val/1")
    assert compare_counts(dataset, complete, None) == ([], [])
    shortfalls, excesses = compare_counts(dataset, [*rows("a/train/1", "a/val/1", "a/val/2")], None)
    assert shortfalls == ["1 of 2 pictures in **/train/*"]
    assert excesses == ["2 of 1 pictures in **/val/*"]


def test_unreadable_files_count_as_missing(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, expected=3)
    unreadable = rows("1", "2") + rows("3", reason=RejectReason.UNDECODABLE)
    assert compare_counts(dataset, unreadable, None)[0] == ["2 of 3 pictures (and 1 undecodable)"]
    duplicates = rows("1", "2") + rows("3", reason=RejectReason.DUPLICATE)
    assert compare_counts(dataset, duplicates, None) == ([], []), "a duplicate is a picture"


def test_nothing_is_expected_of_a_selection_by_tables(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, expected=3, where={"quality": ("P",)})
    assert compare_counts(dataset, rows("1"), None) == ([], [])
