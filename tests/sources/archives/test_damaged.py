"""Archives cut anywhere and changed anywhere: the same files, or one clear error."""

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

Found = list[tuple[str, str | None]]

FILES = {
    "a/text.png": b"what packs well " * 40,
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


def make_nest() -> bytes:
    """Return a zip with a whole zip in it: cut behind that, the inner one's end is at the end."""
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
    "nest.zip": make_nest(),
    "x.tar.gz": gzip.compress(TAR),
    "two.tar.gz": gzip.compress(TAR[:1000]) + gzip.compress(TAR[1000:]),
    "x.tar.bz2": bz2.compress(TAR),
    "x.tar.xz": lzma.compress(TAR),
    "x.tar": TAR,
}


def read_all(path: Path) -> Found:
    """Return names and digests; none where a file has become a link, say, and is rejected."""
    return [
        (file.path, None if file.link or file.special else hashlib.sha256(file.read()).hexdigest())
        for file in open_path(path).files()
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def whole(folder: Path) -> dict[str, Found]:
    return {name: read_all(write(folder / name, data)) for name, data in ARCHIVES.items()}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_cut_at_any_byte(folder: Path, whole: dict[str, Found], name: str) -> None:
    content = ARCHIVES[name]
    # Of a plain tar's padding every hundredth byte will do.
    padding = len(content) - len(content.rstrip(b"\0")) if name == "x.tar" else 0
    lengths = {*range(len(content) - padding), *range(0, len(content), 100)}
    for length in sorted(lengths):
        try:
            found = read_all(write(folder / name, content[:length]))
        except (IntegrityError, SourceError):
            continue
        # A tar of which only zeros behind the end mark are missing is whole.
        assert (name, length >= len(content) - padding) == ("x.tar", True), f"cut at {length}"
        assert found == whole[name]


@settings(max_examples=1500, deadline=None)
@given(data=st.data())
def test_an_archive_with_a_changed_byte(
    folder: Path, whole: dict[str, Found], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(ARCHIVES)))
    content = bytearray(ARCHIVES[name])
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    try:
        found = read_all(write(folder / name, bytes(content)))
    except IcanvasError:
        return
    assert len(found) == len(whole[name])
    if name == "x.tar":
        # It has checksums of its headers alone: what is in a file, and a long name, may differ.
        return
    for now, before in zip(found, whole[name], strict=True):
        # In a zip nothing guards a file's type.
        assert now == before or (now == (before[0], None) and name.endswith("zip"))


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_an_archive_with_many_changed_bytes(folder: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(ARCHIVES)))
    content = bytearray(ARCHIVES[name])
    for _ in range(data.draw(st.integers(2, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(IcanvasError):
        read_all(write(folder / name, bytes(content)))


def test_a_wrong_checksum_at_the_end_of_gzip(folder: Path) -> None:
    data = bytearray(ARCHIVES["x.tar.gz"])
    data[-8] ^= 1
    with pytest.raises(IntegrityError, match="CRC"):
        read_all(write(folder / "x.tar.gz", bytes(data)))


def test_zeros_behind_the_end_are_fine(folder: Path, whole: dict[str, Found]) -> None:
    assert read_all(write(folder / "x.tar", TAR + bytes(20_000))) == whole["x.tar"]
    padded = gzip.compress(TAR) + bytes(512)
    assert read_all(write(folder / "x.tar.gz", padded)) == whole["x.tar"]


@pytest.mark.parametrize("more", [TAR, b"x"])
def test_more_behind_the_end_of_a_tar_is_told(folder: Path, more: bytes) -> None:
    with pytest.raises(IntegrityError, match="more after the end mark"):
        read_all(write(folder / "x.tar", TAR + more))


def test_an_encrypted_zip(folder: Path) -> None:
    data = bytearray(zip_with(folder, "a.png").read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(SourceError, match="password"):
        read_all(write(folder / "x.zip", bytes(data)))


@pytest.mark.parametrize(
    "record", [b"x", b"5 a=b", b"99 path=a\n", b"0 path=a\n", b"-9 path=a\n", b"8 size=\n"]
)
def test_an_extended_header_that_makes_no_sense(folder: Path, record: bytes) -> None:
    extended = tar_header("x", len(record), tarfile.XHDTYPE) + pad_to_block(record)
    with pytest.raises(IntegrityError):
        read_all(write(folder / "x.tar", extended + tar_header("a.png") + bytes(1024)))


def test_a_negative_size(folder: Path) -> None:
    with pytest.raises(IntegrityError, match="negative"):
        read_all(write(folder / "x.tar", tar_header("a.png", -512) + bytes(1024)))
