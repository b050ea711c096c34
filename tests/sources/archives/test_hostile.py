"""Archives with names or members that would do harm if they were unpacked."""

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

BOTH_FORMATS = pytest.mark.parametrize("make", [zip_with, tar_with])


@BOTH_FORMATS
@pytest.mark.parametrize(
    ("name", "reason"),
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
def test_unsafe_names_are_refused(
    archive_folder: Path, make: MakeArchive, name: str, reason: str
) -> None:
    assert reason in refusal_message(make(archive_folder, name))


@pytest.mark.parametrize(
    ("name", "reason"),
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
def test_unsafe_names_of_a_zip_are_refused(archive_folder: Path, name: str, reason: str) -> None:
    assert reason in refusal_message(zip_with(archive_folder, name))


def test_nul_in_a_long_name_of_a_tar_is_refused(archive_folder: Path) -> None:
    long = tar_header("././@LongLink", 9, tarfile.GNUTYPE_LONGNAME) + pad_to_block(b"a.png\0b\0\0")
    assert "NUL" in refusal_message(
        write(archive_folder / "x.tar", long + tar_header("a.png") + bytes(1024))
    )


@BOTH_FORMATS
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("./a//b/./c.png", "a/b/c.png"),
        ("u\u0308.png", "ü.png"),
        ("bell\a.png", r"bell\x07.png"),
        ("a/..b/c...png", "a/..b/c...png"),
    ],
)
def test_names_are_normalized(
    archive_folder: Path, make: MakeArchive, name: str, path: str
) -> None:
    assert list_paths(make(archive_folder, name)) == ["first.png", path]


def test_backslash_in_a_zip_separates_folders(archive_folder: Path) -> None:
    assert list_paths(zip_with(archive_folder, "a\\b.png", "a\\")) == ["first.png", "a/b.png"]


@pytest.mark.parametrize(
    ("raw", "flags", "path"),
    [
        ("한.png".encode(), 0, "한.png"),
        (b"\x81.png", 0, "ü.png"),
        (b"\x81.png", 0x800, r"\x81.png"),
    ],
)
def test_encodings_of_names_in_a_zip_are_decoded(
    archive_folder: Path, raw: bytes, flags: int, path: str
) -> None:
    assert list_paths(write(archive_folder / "x.zip", raw_zip([RawMember(raw, flags=flags)]))) == [
        path
    ]


@BOTH_FORMATS
@pytest.mark.parametrize("again", ["first.png", "./first.png"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_name_is_refused(archive_folder: Path, make: MakeArchive, again: str) -> None:
    assert "occurs twice" in refusal_message(make(archive_folder, again))


@BOTH_FORMATS
def test_names_that_differ_only_in_case_are_two_files(
    archive_folder: Path, make: MakeArchive
) -> None:
    # Nothing is unpacked, so a case-insensitive file system does not matter.
    files = open_path(make(archive_folder, "First.png")).files()
    assert [(file.path, file.read()) for file in files] == [
        ("first.png", b"content 0"),
        ("First.png", b"content 1"),
    ]


def special_tar(archive_folder: Path) -> Path:
    members = (
        tar_header("link.png", 0, tarfile.SYMTYPE, "/etc/passwd"),
        tar_header("hard.png", 0, tarfile.LNKTYPE, "../../secret"),
        tar_header("char.png", 0, tarfile.CHRTYPE),
        tar_header("block.png", 0, tarfile.BLKTYPE),
        tar_header("pipe.png", 0, tarfile.FIFOTYPE),
        tar_header("odd.png", 1, b"V") + pad_to_block(b"x"),
    )
    return write(archive_folder / "x.tar", b"".join(members) + bytes(1024))


def special_zip(archive_folder: Path) -> Path:
    kinds = (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR, 0o30000)
    members = [RawMember(b"%d.png" % kind, mode=kind | 0o644) for kind in kinds]
    members += [
        RawMember(b"link.png", b"/etc/passwd", mode=stat.S_IFLNK | 0o777),
        RawMember(b"long.png", b"x" * 5000, mode=stat.S_IFLNK | 0o777),
        RawMember(b"plain.png", mode=0),
    ]
    return write(archive_folder / "x.zip", raw_zip(members))


def test_links_and_devices_in_a_tar_are_not_followed(archive_folder: Path) -> None:
    files = read_all(special_tar(archive_folder))
    assert [file.link for file in files[:2]] == ["/etc/passwd", "../../secret"]
    assert [file.special for file in files[2:]] == [
        "a character device",
        "a block device",
        "a FIFO",
        "of type 'V'",
    ]


def test_links_and_devices_in_a_zip_are_not_followed(archive_folder: Path) -> None:
    files = read_all(special_zip(archive_folder))
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
    archive_folder: Path, store: LocalStore, make: Callable[[Path], Path]
) -> None:
    raw = acquire(find_dataset(str(make(archive_folder))), store)
    rows = rows_from_parquet(store.get(keys.raw_index(raw.dataset, raw.fingerprint)))
    assert {row.status for row in rows} == {"rejected"}
    link = next(row for row in rows if row.source_path == "link.png")
    assert (link.reason, link.detail) == ("link", "links to /etc/passwd")
    pipe = next(row for row in rows if row.detail == "a FIFO")
    assert (pipe.reason, pipe.size) == ("not_a_picture", None)


@BOTH_FORMATS
def test_refused_archive_leaves_no_index(
    archive_folder: Path, store: LocalStore, make: MakeArchive
) -> None:
    with pytest.raises(SourceError, match="refused"):
        acquire(find_dataset(str(make(archive_folder, "../x.png"))), store)
    assert not any(key.endswith("index.parquet") for key in store.list_keys("datasets"))
