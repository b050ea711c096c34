"""Archives that were made to do harm are refused, or what is in them is not followed."""

import bz2
import gzip
import os
import stat
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datasets import acquire, find
from datasets.sources import SourceFile, limits, open_path
from errors import IcanvasError, IntegrityError, SourceError
from storage import LocalStore, keys
from storage.manifest import read_rows
from tests.datasets.archives import (
    Make,
    RawMember,
    blocks,
    deflated,
    header,
    large_end,
    raw_zip,
    tar_with,
    write,
    zeros,
    zip_with,
)

BOTH = pytest.mark.parametrize("make", [zip_with, tar_with])


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for archives; the current one lies deep beside it, and nothing may appear there."""
    archives = tmp_path / "archives"
    current = tmp_path / "a" / "b" / "c"
    archives.mkdir()
    current.mkdir(parents=True)
    monkeypatch.chdir(current)
    yield archives
    beside = {path.name for path in tmp_path.iterdir()}
    assert beside - {"own-store"} == {"archives", "a"}
    assert sorted(path.name for path in (tmp_path / "a").rglob("*")) == ["b", "c"]
    assert len(list(archives.iterdir())) == 1


def paths(path: Path) -> list[str]:
    return [file.path for file in read_all(path)]


def read_all(path: Path) -> list[SourceFile]:
    files = []
    for file in open_path(path).files():
        content = file.read()
        assert len(content) == file.size
        files.append(file)
    regular = [file.path for file in files if file.link is None and file.special is None]
    assert list(open_path(path).names()) == regular
    return files


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_all(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is refused: ")
    assert "Nothing was unpacked" in message
    assert "\n" not in message
    return message


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
def test_names_that_lead_elsewhere(place: Path, make: Make, name: str, why: str) -> None:
    assert why in refusal(make(place, name))


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
    assert why in refusal(zip_with(place, name))


def test_a_nul_in_a_long_name_of_a_tar(place: Path) -> None:
    long = header("././@LongLink", 9, tarfile.GNUTYPE_LONGNAME) + blocks(b"a.png\0b\0\0")
    assert "NUL" in refusal(write(place / "x.tar", long + header("a.png") + bytes(1024)))


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
def test_names_are_normalised(place: Path, make: Make, name: str, path: str) -> None:
    assert paths(make(place, name)) == ["first.png", path]


def test_a_backslash_in_a_zip_parts_folders(place: Path) -> None:
    assert paths(zip_with(place, "a\\b.png", "a\\")) == ["first.png", "a/b.png"]


@pytest.mark.parametrize(
    ("raw", "flags", "path"),
    [
        ("한.png".encode(), 0, "한.png"),
        (b"\x81.png", 0, "ü.png"),
        (b"\x81.png", 0x800, r"\x81.png"),
    ],
)
def test_encodings_of_names_in_a_zip(place: Path, raw: bytes, flags: int, path: str) -> None:
    assert paths(write(place / "x.zip", raw_zip([RawMember(raw, flags=flags)]))) == [path]


@BOTH
@pytest.mark.parametrize("again", ["first.png", "./first.png"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice(place: Path, make: Make, again: str) -> None:
    assert "is there twice" in refusal(make(place, again))


@BOTH
def test_names_that_differ_in_case_alone_are_two_files(place: Path, make: Make) -> None:
    # Nothing is unpacked, so they never meet on a disk that does not tell them apart.
    files = open_path(make(place, "First.png")).files()
    assert [(file.path, file.read()) for file in files] == [
        ("first.png", b"content 0"),
        ("First.png", b"content 1"),
    ]


def special_tar(place: Path) -> Path:
    members = (
        header("link.png", 0, tarfile.SYMTYPE, "/etc/passwd"),
        header("hard.png", 0, tarfile.LNKTYPE, "../../secret"),
        header("char.png", 0, tarfile.CHRTYPE),
        header("block.png", 0, tarfile.BLKTYPE),
        header("pipe.png", 0, tarfile.FIFOTYPE),
        header("odd.png", 1, b"V") + blocks(b"x"),
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
    raw = acquire(find(str(make(place))), store)
    rows = read_rows(store.get(keys.raw_index(raw.dataset, raw.fingerprint)))
    assert {row.status for row in rows} == {"rejected"}
    link = next(row for row in rows if row.source_path == "link.png")
    assert (link.reason, link.detail) == ("link", "links to /etc/passwd")
    pipe = next(row for row in rows if row.detail == "a FIFO")
    assert (pipe.reason, pipe.size) == ("not_a_picture", None)


@BOTH
def test_a_refused_archive_leaves_no_index(place: Path, store: LocalStore, make: Make) -> None:
    with pytest.raises(SourceError, match="refused"):
        acquire(find(str(make(place, "../x.png"))), store)
    assert not any(key.endswith("index.parquet") for key in store.list("datasets"))


def test_a_bomb_in_a_tar(place: Path) -> None:
    path = write(place / "x.tar.gz", gzip.compress(header("bomb.png", 5 << 30)) + zeros(100))
    message = refusal(path)
    assert "'bomb.png' unpacks from 0." in message
    assert "to 65 MiB" in message, "it was read further than the limit"


def test_a_bomb_behind_the_end_of_a_tar(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ARCHIVE_FLOOR", 16 << 20)
    start = gzip.compress(header("a.png") + bytes(1024))
    assert "it unpacks from" in refusal(write(place / "x.tar.gz", start + zeros(20)))


def test_a_bomb_in_a_zip(place: Path) -> None:
    with zipfile.ZipFile(place / "x.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("bomb.png", bytes(65 << 20))
    assert "'bomb.png' unpacks from" in refusal(place / "x.zip")


def test_a_bomb_of_many_members(place: Path) -> None:
    members = [RawMember(b"%d.png" % i, b"x" * 200, 60 << 20, method=8) for i in range(20)]
    assert "it unpacks from" in refusal(write(place / "x.zip", raw_zip(members)))


def test_members_that_share_their_content(place: Path) -> None:
    members = [RawMember(b"%d.png" % i, b"x" * 1000) for i in range(10)]
    assert "overlap" in refusal(write(place / "x.zip", raw_zip(members, shared=True)))


def test_blank_pictures_are_no_bomb(place: Path) -> None:
    with zipfile.ZipFile(place / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("blank.bmp", bytes(20 << 20))
    assert paths(place / "x.zip") == ["blank.bmp"]


@pytest.mark.parametrize(("method", "pack"), [(8, deflated), (12, bz2.compress)])
def test_a_member_that_says_too_little_is_not_read_further(
    place: Path, method: int, pack: Callable[[bytes], bytes]
) -> None:
    member = RawMember(b"x.png", pack(bytes(50 << 20)), size=10, method=method)
    path = write(place / "x.zip", raw_zip([member]))
    tracemalloc.start()
    with pytest.raises(IntegrityError, match="another size"):
        read_all(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("size", [0, 9, 11, 1 << 20, 2**32 - 2])
@pytest.mark.parametrize(("method", "pack"), [(0, bytes), (8, deflated), (12, bz2.compress)])
def test_a_member_of_another_size(
    place: Path, size: int, method: int, pack: Callable[[bytes], bytes]
) -> None:
    crc = zlib.crc32(b"0123456789")
    member = RawMember(b"x.png", pack(b"0123456789"), size, crc, method)
    path = write(place / "x.zip", raw_zip([member]))
    with pytest.raises(IcanvasError):
        read_all(path)


def test_a_huge_header_is_not_read(place: Path) -> None:
    start = gzip.compress(header("x.png", 5 << 30, tarfile.XHDTYPE))
    assert "far too large" in refusal(write(place / "x.tar.gz", start + zeros(10)))


def test_headers_without_end_are_only_passed_over(place: Path) -> None:
    # Each a header for the next: what calls itself for each would run out of stack.
    extended = header("x", 0, tarfile.XHDTYPE)
    path = write(place / "x.tar", extended * 5000 + header("a.png") + bytes(1024))
    assert paths(path) == ["a.png"]


def test_a_sparse_file_is_refused(place: Path) -> None:
    record = b"22 GNU.sparse.major=1\n"
    extended = header("x", len(record), tarfile.XHDTYPE) + blocks(record)
    path = write(place / "x.tar", extended + header("a.bmp") + bytes(1024))
    assert "Pack it without --sparse." in refusal(path)


def test_the_number_in_a_zips_end_is_enough_to_refuse_it(place: Path) -> None:
    size = 46 * 10**6
    path = write(place / "x.zip", b"PK\3\4" + bytes(size) + large_end(10**6, 4, size))
    assert "more than 500,000 members" in refusal(path)


MEASURE = """
import resource, sys
from pathlib import Path
from datasets.sources import open_path
from errors import SourceError
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = 0
try:
    for file in open_path(Path(sys.argv[1]), 100_000).files():
        count += 1
except SourceError as error:
    print(error, file=sys.stderr)
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""


def test_a_million_members_of_a_zip_take_little_memory(place: Path) -> None:
    # Its end has two bytes for the number, which is too low for that.
    members = (RawMember(b"%07d.png" % i, b"") for i in range(10**6))
    path = write(place / "x.zip", raw_zip(members, shared=True))
    count, mebibytes, message = measure(path)
    assert (count, "more than 100,000" in message) == (0, True)
    assert mebibytes < 60


def test_a_million_members_of_a_tar_take_little_memory(place: Path) -> None:
    names = b"".join(header(f"{i:07d}.png") for i in range(50_000))
    folders = gzip.compress(header("folder", 0, tarfile.DIRTYPE) * 1000) * 950
    path = write(place / "x.tar.gz", gzip.compress(names, 1) + folders)
    count, mebibytes, message = measure(path)
    assert (count, "more than 100,000" in message) == (50_000, True)
    assert mebibytes < 60


def measure(path: Path) -> tuple[int, int, str]:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    count, mebibytes = done.stdout.split()
    return int(count), int(mebibytes), done.stderr
