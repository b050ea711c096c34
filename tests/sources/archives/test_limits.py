"""Archives that would need too much memory or disk space."""

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


def test_bomb_in_a_tar_is_refused(archive_folder: Path) -> None:
    path = write(
        archive_folder / "x.tar.gz",
        gzip.compress(tar_header("bomb.png", 5 << 30)) + gzip_zeros(100),
    )
    message = refusal_message(path)
    assert "'bomb.png' unpacks from 0." in message
    assert "to 65 MiB" in message, "it was read beyond the limit"


def test_bomb_after_the_end_of_a_tar_is_refused(
    archive_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MIN_CHECKED_ARCHIVE_BYTES", 16 << 20)
    start = gzip.compress(tar_header("a.png") + bytes(1024))
    assert "it unpacks from" in refusal_message(
        write(archive_folder / "x.tar.gz", start + gzip_zeros(20))
    )


def test_bomb_in_a_zip_is_refused(archive_folder: Path) -> None:
    with zipfile.ZipFile(
        archive_folder / "x.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1
    ) as archive:
        archive.writestr("bomb.png", bytes(65 << 20))
    assert "'bomb.png' unpacks from" in refusal_message(archive_folder / "x.zip")


def test_bomb_of_many_members_is_refused(archive_folder: Path) -> None:
    members = [RawMember(b"%d.png" % i, b"x" * 200, 60 << 20, method=8) for i in range(20)]
    assert "it unpacks from" in refusal_message(write(archive_folder / "x.zip", raw_zip(members)))


def test_overlapping_members_are_refused(archive_folder: Path) -> None:
    members = [RawMember(b"%d.png" % i, b"x" * 1000) for i in range(10)]
    assert "overlap" in refusal_message(
        write(archive_folder / "x.zip", raw_zip(members, shared=True))
    )


def test_blank_picture_is_accepted(archive_folder: Path) -> None:
    with zipfile.ZipFile(archive_folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("blank.bmp", bytes(20 << 20))
    assert list_paths(archive_folder / "x.zip") == ["blank.bmp"]


@pytest.mark.parametrize(("method", "compress"), [(8, deflate), (12, bz2.compress)])
def test_member_larger_than_declared_is_not_decompressed_completely(
    archive_folder: Path, method: int, compress: Callable[[bytes], bytes]
) -> None:
    member = RawMember(b"x.png", compress(bytes(50 << 20)), size=10, method=method)
    path = write(archive_folder / "x.zip", raw_zip([member]))
    tracemalloc.start()
    with pytest.raises(IntegrityError, match="another size"):
        read_all(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("size", [0, 9, 11, 1 << 20, 2**32 - 2])
@pytest.mark.parametrize(("method", "compress"), [(0, bytes), (8, deflate), (12, bz2.compress)])
def test_member_of_another_size_is_reported(
    archive_folder: Path, size: int, method: int, compress: Callable[[bytes], bytes]
) -> None:
    crc = zlib.crc32(b"0123456789")
    member = RawMember(b"x.png", compress(b"0123456789"), size, crc, method)
    path = write(archive_folder / "x.zip", raw_zip([member]))
    with pytest.raises(IcanvasError):
        read_all(path)


def test_huge_header_is_refused(archive_folder: Path) -> None:
    start = gzip.compress(tar_header("x.png", 5 << 30, tarfile.XHDTYPE))
    assert "far too large" in refusal_message(
        write(archive_folder / "x.tar.gz", start + gzip_zeros(10))
    )


def test_long_chain_of_headers_is_skipped(archive_folder: Path) -> None:
    # Each one is a header of the next: a recursive reader would exhaust the stack.
    extended = tar_header("x", 0, tarfile.XHDTYPE)
    path = write(archive_folder / "x.tar", extended * 5000 + tar_header("a.png") + bytes(1024))
    assert list_paths(path) == ["a.png"]


def test_sparse_file_is_refused(archive_folder: Path) -> None:
    record = b"22 GNU.sparse.major=1\n"
    extended = tar_header("x", len(record), tarfile.XHDTYPE) + pad_to_block(record)
    path = write(archive_folder / "x.tar", extended + tar_header("a.bmp") + bytes(1024))
    assert "Pack it without --sparse." in refusal_message(path)


def test_zip_is_refused_by_the_count_in_its_end_record(archive_folder: Path) -> None:
    size = 46 * 10**6
    path = write(archive_folder / "x.zip", b"PK\3\4" + bytes(size) + zip64_end(10**6, 4, size))
    assert "more than 500,000 members" in refusal_message(path)


MEASURE_SCRIPT = """
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


def test_zip_with_a_million_members_takes_little_memory(archive_folder: Path) -> None:
    # The 16-bit count of the end record overflows.
    members = (RawMember(b"%07d.png" % i, b"") for i in range(10**6))
    path = write(archive_folder / "x.zip", raw_zip(members, shared=True))
    count, mebibytes, message = measure_memory(path)
    assert (count, "more than 100,000" in message) == (0, True)
    assert mebibytes < 60


@pytest.mark.slow
def test_tar_with_a_million_members_takes_little_memory(archive_folder: Path) -> None:
    names = b"".join(tar_header(f"{i:07d}.png") for i in range(50_000))
    folders = gzip.compress(tar_header("folder", 0, tarfile.DIRTYPE) * 1000) * 950
    path = write(archive_folder / "x.tar.gz", gzip.compress(names, 1) + folders)
    count, mebibytes, message = measure_memory(path)
    assert (count, "more than 100,000" in message) == (50_000, True)
    assert mebibytes < 60


def measure_memory(path: Path) -> tuple[int, int, str]:
    root = Path(__file__).parents[3]
    completed = subprocess.run(
        [sys.executable, "-c", MEASURE_SCRIPT, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    count, mebibytes = completed.stdout.split()
    return int(count), int(mebibytes), completed.stderr
