"""Archives that ask for more than a machine has."""

import bz2
import gzip
import os
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from config.errors import IcanvasError, IntegrityError
from sources.archives import limits
from tests.sources.archives.hostile_archives import (
    RawMember,
    deflate,
    gzip_zeros,
    list_paths,
    pad_to_block,
    raw_zip,
    read_all,
    refusal_message,
    tar_header,
    write,
    zip64_end,
)


def test_a_bomb_in_a_tar(place: Path) -> None:
    path = write(
        place / "x.tar.gz", gzip.compress(tar_header("bomb.png", 5 << 30)) + gzip_zeros(100)
    )
    message = refusal_message(path)
    assert "'bomb.png' unpacks from 0." in message
    assert "to 65 MiB" in message, "it was read further than the limit"


def test_a_bomb_behind_the_end_of_a_tar(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ARCHIVE_FLOOR", 16 << 20)
    start = gzip.compress(tar_header("a.png") + bytes(1024))
    assert "it unpacks from" in refusal_message(write(place / "x.tar.gz", start + gzip_zeros(20)))


def test_a_bomb_in_a_zip(place: Path) -> None:
    with zipfile.ZipFile(place / "x.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("bomb.png", bytes(65 << 20))
    assert "'bomb.png' unpacks from" in refusal_message(place / "x.zip")


def test_a_bomb_of_many_members(place: Path) -> None:
    members = [RawMember(b"%d.png" % i, b"x" * 200, 60 << 20, method=8) for i in range(20)]
    assert "it unpacks from" in refusal_message(write(place / "x.zip", raw_zip(members)))


def test_members_that_share_their_content(place: Path) -> None:
    members = [RawMember(b"%d.png" % i, b"x" * 1000) for i in range(10)]
    assert "overlap" in refusal_message(write(place / "x.zip", raw_zip(members, shared=True)))


def test_blank_pictures_are_no_bomb(place: Path) -> None:
    with zipfile.ZipFile(place / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("blank.bmp", bytes(20 << 20))
    assert list_paths(place / "x.zip") == ["blank.bmp"]


@pytest.mark.parametrize(("method", "pack"), [(8, deflate), (12, bz2.compress)])
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
@pytest.mark.parametrize(("method", "pack"), [(0, bytes), (8, deflate), (12, bz2.compress)])
def test_a_member_of_another_size(
    place: Path, size: int, method: int, pack: Callable[[bytes], bytes]
) -> None:
    crc = zlib.crc32(b"0123456789")
    member = RawMember(b"x.png", pack(b"0123456789"), size, crc, method)
    path = write(place / "x.zip", raw_zip([member]))
    with pytest.raises(IcanvasError):
        read_all(path)


def test_a_huge_header_is_not_read(place: Path) -> None:
    start = gzip.compress(tar_header("x.png", 5 << 30, tarfile.XHDTYPE))
    assert "far too large" in refusal_message(write(place / "x.tar.gz", start + gzip_zeros(10)))


def test_headers_without_end_are_only_passed_over(place: Path) -> None:
    # Each a header for the next: what calls itself for each would run out of stack.
    extended = tar_header("x", 0, tarfile.XHDTYPE)
    path = write(place / "x.tar", extended * 5000 + tar_header("a.png") + bytes(1024))
    assert list_paths(path) == ["a.png"]


def test_a_sparse_file_is_refused(place: Path) -> None:
    record = b"22 GNU.sparse.major=1\n"
    extended = tar_header("x", len(record), tarfile.XHDTYPE) + pad_to_block(record)
    path = write(place / "x.tar", extended + tar_header("a.bmp") + bytes(1024))
    assert "Pack it without --sparse." in refusal_message(path)


def test_the_number_in_a_zips_end_is_enough_to_refuse_it(place: Path) -> None:
    size = 46 * 10**6
    path = write(place / "x.zip", b"PK\3\4" + bytes(size) + zip64_end(10**6, 4, size))
    assert "more than 500,000 members" in refusal_message(path)


MEASURE = """
import resource, sys
from pathlib import Path
from sources.archives import open_path
from config.errors import SourceError
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


@pytest.mark.slow
def test_a_million_members_of_a_tar_take_little_memory(place: Path) -> None:
    names = b"".join(tar_header(f"{i:07d}.png") for i in range(50_000))
    folders = gzip.compress(tar_header("folder", 0, tarfile.DIRTYPE) * 1000) * 950
    path = write(place / "x.tar.gz", gzip.compress(names, 1) + folders)
    count, mebibytes, message = measure(path)
    assert (count, "more than 100,000" in message) == (50_000, True)
    assert mebibytes < 60


def measure(path: Path) -> tuple[int, int, str]:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    count, mebibytes = done.stdout.split()
    return int(count), int(mebibytes), done.stderr
