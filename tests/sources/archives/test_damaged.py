"""Archives truncated or changed at any byte: the same files are read, or an error is raised."""

import bz2
import gzip
import hashlib
import io
import lzma
import random
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import IcanvasError, IntegrityError, SourceError
from sources.archives import open_path
from tests.sources.archives.hostile_archives import pad_to_block, tar_header, write, zip_with

Digests = list[tuple[str, str | None]]

FILES = {
    "a/text.png": b"compressible text " * 40,
    "b/noise.png": random.Random(0).randbytes(300),
    "empty.png": b"",
    f"{'long/' * 40}한.png": b"x",
}


def make_zip(method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.comment = comment
        for name, content in FILES.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def make_nested_zip() -> bytes:
    """Return a zip with a nested zip: if truncated after it, the inner end record is at the end."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("first.png", b"1")
        archive.writestr("inner.zip", make_zip())
        archive.writestr("last.png", b"2")
    return buffer.getvalue()


def make_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


TAR = make_tar()
ARCHIVES = {
    "deflated.zip": make_zip(),
    "stored.zip": make_zip(zipfile.ZIP_STORED, b"a comment"),
    "bzip2.zip": make_zip(zipfile.ZIP_BZIP2),
    "nest.zip": make_nested_zip(),
    "x.tar.gz": gzip.compress(TAR),
    "two.tar.gz": gzip.compress(TAR[:1000]) + gzip.compress(TAR[1000:]),
    "x.tar.bz2": bz2.compress(TAR),
    "x.tar.xz": lzma.compress(TAR),
    "x.tar": TAR,
}


def read_all(path: Path) -> Digests:
    """Return names and SHA-256; None for a link or special file, which has no content."""
    return [
        (file.path, None if file.link or file.special else hashlib.sha256(file.read()).hexdigest())
        for file in open_path(path).files()
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def intact(folder: Path) -> dict[str, Digests]:
    return {name: read_all(write(folder / name, data)) for name, data in ARCHIVES.items()}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archive_truncated_at_any_byte(folder: Path, intact: dict[str, Digests], name: str) -> None:
    content = ARCHIVES[name]
    # Of the padding of an uncompressed tar, every hundredth byte is tested.
    padding = len(content) - len(content.rstrip(b"\0")) if name == "x.tar" else 0
    lengths = {*range(len(content) - padding), *range(0, len(content), 100)}
    for length in sorted(lengths):
        try:
            digests = read_all(write(folder / name, content[:length]))
        except (IntegrityError, SourceError):
            continue
        # A tar without some of the zeros after its end mark is complete.
        assert (name, length >= len(content) - padding) == ("x.tar", True), f"cut at {length}"
        assert digests == intact[name]


@settings(max_examples=1500, deadline=None)
@given(data=st.data())
def test_archive_with_a_changed_byte(
    folder: Path, intact: dict[str, Digests], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(ARCHIVES)))
    content = bytearray(ARCHIVES[name])
    offset = data.draw(st.integers(0, len(content) - 1))
    content[offset] ^= data.draw(st.integers(1, 255))
    try:
        digests = read_all(write(folder / name, bytes(content)))
    except IcanvasError:
        return
    assert len(digests) == len(intact[name])
    if name == "x.tar":
        # Only headers have checksums: contents and long names can differ.
        return
    for actual, expected in zip(digests, intact[name], strict=True):
        # The type of a file in a zip has no checksum.
        assert actual == expected or (actual == (expected[0], None) and name.endswith("zip"))


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_archive_with_many_changed_bytes(folder: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(ARCHIVES)))
    content = bytearray(ARCHIVES[name])
    for _ in range(data.draw(st.integers(2, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(IcanvasError):
        read_all(write(folder / name, bytes(content)))


def test_wrong_checksum_of_gzip_is_reported(folder: Path) -> None:
    data = bytearray(ARCHIVES["x.tar.gz"])
    data[-8] ^= 1
    with pytest.raises(IntegrityError, match="CRC"):
        read_all(write(folder / "x.tar.gz", bytes(data)))


def test_zeros_after_the_end_are_accepted(folder: Path, intact: dict[str, Digests]) -> None:
    assert read_all(write(folder / "x.tar", TAR + bytes(20_000))) == intact["x.tar"]
    padded = gzip.compress(TAR) + bytes(512)
    assert read_all(write(folder / "x.tar.gz", padded)) == intact["x.tar"]


@pytest.mark.parametrize("more", [TAR, b"x"])
def test_data_after_the_end_of_a_tar_is_reported(folder: Path, more: bytes) -> None:
    with pytest.raises(IntegrityError, match="more data after the end mark"):
        read_all(write(folder / "x.tar", TAR + more))


def test_encrypted_zip_is_refused(folder: Path) -> None:
    data = bytearray(zip_with(folder, "a.png").read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(SourceError, match="password"):
        read_all(write(folder / "x.zip", bytes(data)))


@pytest.mark.parametrize(
    "record", [b"x", b"5 a=b", b"99 path=a\n", b"0 path=a\n", b"-9 path=a\n", b"8 size=\n"]
)
def test_malformed_extended_header_is_reported(folder: Path, record: bytes) -> None:
    extended = tar_header("x", len(record), tarfile.XHDTYPE) + pad_to_block(record)
    with pytest.raises(IntegrityError):
        read_all(write(folder / "x.tar", extended + tar_header("a.png") + bytes(1024)))


def test_negative_size_is_reported(folder: Path) -> None:
    with pytest.raises(IntegrityError, match="negative"):
        read_all(write(folder / "x.tar", tar_header("a.png", -512) + bytes(1024)))
