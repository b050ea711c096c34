"""Archives whose names or members would do harm where they are unpacked."""

import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from config.errors import SourceError
from sources import acquire, find_dataset
from sources.archives import open_path
from storage import LocalStore, keys
from storage.manifest import rows_from_parquet
from tests.sources.archives.hostile_archives import (
    MakeArchive,
    RawMember,
    list_paths,
    pad_to_block,
    raw_zip,
    read_all,
    refusal_message,
    tar_header,
    tar_with,
    write,
    zip_with,
)

BOTH = pytest.mark.parametrize("make", [zip_with, tar_with])


@BOTH
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../x.png", "leads to a parent folder"),
        ("a/../../x.png", "leads to a parent folder"),
        ("a/..", "leads to a parent folder"),
        ("/x.png", "has an absolute name"),
        ("//server/x.png", "has an absolute name"),
        ("C:x.png", "names a drive"),
        ("./c:/x.png", "names a drive"),
        (".", "has no name"),
        ("a" * 1025, "has a name of more than 1,024 characters"),
        ("../new\nline.png", r"member '../new\nline.png'"),
    ],
)
def test_names_that_lead_elsewhere(place: Path, make: MakeArchive, name: str, why: str) -> None:
    assert why in refusal_message(make(place, name))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("..\\x.png", "parent"),
        ("a\\..\\..\\x.png", "parent"),
        ("\\x.png", "absolute"),
        ("\\\\server\\x.png", "absolute"),
        ("C:\\x.png", "drive"),
        ("x.png\0.txt", "NUL"),
        ("", "no name"),
    ],
)
def test_names_that_only_a_zip_has(place: Path, name: str, why: str) -> None:
    assert why in refusal_message(zip_with(place, name))


def test_a_nul_in_a_long_name_of_a_tar(place: Path) -> None:
    long = tar_header("././@LongLink", 9, tarfile.GNUTYPE_LONGNAME) + pad_to_block(b"a.png\0b\0\0")
    assert "NUL" in refusal_message(
        write(place / "x.tar", long + tar_header("a.png") + bytes(1024))
    )


@BOTH
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("./a//b/./c.png", "a/b/c.png"),
        ("u\u0308.png", "ü.png"),
        ("bell\a.png", r"bell\x07.png"),
        ("a/..b/c...png", "a/..b/c...png"),
    ],
)
def test_names_are_normalised(place: Path, make: MakeArchive, name: str, path: str) -> None:
    assert list_paths(make(place, name)) == ["first.png", path]


def test_a_backslash_in_a_zip_parts_folders(place: Path) -> None:
    assert list_paths(zip_with(place, "a\\b.png", "a\\")) == ["first.png", "a/b.png"]


@pytest.mark.parametrize(
    ("raw", "flags", "path"),
    [
        ("한.png".encode(), 0, "한.png"),
        (b"\x81.png", 0, "ü.png"),
        (b"\x81.png", 0x800, r"\x81.png"),
    ],
)
def test_encodings_of_names_in_a_zip(place: Path, raw: bytes, flags: int, path: str) -> None:
    assert list_paths(write(place / "x.zip", raw_zip([RawMember(raw, flags=flags)]))) == [path]


@BOTH
@pytest.mark.parametrize("again", ["first.png", "./first.png"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice(place: Path, make: MakeArchive, again: str) -> None:
    assert "is there twice" in refusal_message(make(place, again))


@BOTH
def test_names_that_differ_in_case_alone_are_two_files(place: Path, make: MakeArchive) -> None:
    # Nothing is unpacked, so they never meet on a disk that does not tell them apart.
    files = open_path(make(place, "First.png")).files()
    assert [(file.path, file.read()) for file in files] == [
        ("first.png", b"content 0"),
        ("First.png", b"content 1"),
    ]


def special_tar(place: Path) -> Path:
    members = (
        tar_header("link.png", 0, tarfile.SYMTYPE, "/etc/passwd"),
        tar_header("hard.png", 0, tarfile.LNKTYPE, "../../secret"),
        tar_header("char.png", 0, tarfile.CHRTYPE),
        tar_header("block.png", 0, tarfile.BLKTYPE),
        tar_header("pipe.png", 0, tarfile.FIFOTYPE),
        tar_header("odd.png", 1, b"V") + pad_to_block(b"x"),
    )
    return write(place / "x.tar", b"".join(members) + bytes(1024))


def special_zip(place: Path) -> Path:
    kinds = (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR, 0o30000)
    members = [RawMember(b"%d.png" % kind, mode=kind | 0o644) for kind in kinds]
    members += [
        RawMember(b"link.png", b"/etc/passwd", mode=stat.S_IFLNK | 0o777),
        RawMember(b"long.png", b"x" * 5000, mode=stat.S_IFLNK | 0o777),
        RawMember(b"plain.png", mode=0),
    ]
    return write(place / "x.zip", raw_zip(members))


def test_links_and_devices_in_a_tar_are_not_followed(place: Path) -> None:
    files = read_all(special_tar(place))
    assert [file.link for file in files[:2]] == ["/etc/passwd", "../../secret"]
    assert [file.special for file in files[2:]] == [
        "a character device",
        "a block device",
        "a FIFO",
        "of type 'V'",
    ]


def test_links_and_devices_in_a_zip_are_not_followed(place: Path) -> None:
    files = read_all(special_zip(place))
    assert [file.special for file in files[:6]] == [
        "a character device",
        "a block device",
        "a FIFO",
        "a socket",
        "a folder named as a file",
        "of no known type",
    ]
    assert [file.link for file in files[6:]] == ["/etc/passwd", "a name of 5,000 bytes", None]


@pytest.mark.parametrize("make", [special_tar, special_zip])
def test_links_and_devices_become_rejected_rows(
    place: Path, store: LocalStore, make: Callable[[Path], Path]
) -> None:
    raw = acquire(find_dataset(str(make(place))), store)
    rows = rows_from_parquet(store.get(keys.raw_index(raw.dataset, raw.fingerprint)))
    assert {row.status for row in rows} == {"rejected"}
    link = next(row for row in rows if row.source_path == "link.png")
    assert (link.reason, link.detail) == ("link", "links to /etc/passwd")
    pipe = next(row for row in rows if row.detail == "a FIFO")
    assert (pipe.reason, pipe.size) == ("not_a_picture", None)


@BOTH
def test_a_refused_archive_leaves_no_index(
    place: Path, store: LocalStore, make: MakeArchive
) -> None:
    with pytest.raises(SourceError, match="refused"):
        acquire(find_dataset(str(make(place, "../x.png"))), store)
    assert not any(key.endswith("index.parquet") for key in store.list_keys("datasets"))
