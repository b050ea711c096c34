"""Helpers that write malformed and hostile archives, and read them."""

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from config.errors import SourceError
from sources.archives import SourceFile, open_path

MakeArchive = Callable[..., Path]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def zip_with(folder: Path, *names: str) -> Path:
    """Write a zip with ``first.png`` and files of these names."""
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        for number, name in enumerate(("first.png", *names)):
            member = zipfile.ZipInfo()
            # The constructor would truncate the name at a NUL.
            member.filename = name
            archive.writestr(member, f"content {number}" if name[-1:] not in ("/", "\\") else "")
    return folder / "x.zip"


def tar_with(folder: Path, *names: str) -> Path:
    """Write a tar.gz with ``first.png`` and files of these names."""
    with tarfile.open(folder / "x.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for number, name in enumerate(("first.png", *names)):
            content = f"content {number}".encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return folder / "x.tar.gz"


@dataclass
class RawMember:
    """A zip member; None stands for the correct value of a stored file."""

    name: bytes
    compressed: bytes = b"x"
    size: int | None = None
    crc: int | None = None
    method: int = 0
    flags: int = 0
    mode: int = 0o100644
    local_name: bytes | None = None

    def header_fields(self) -> tuple[int, ...]:
        crc = zlib.crc32(self.compressed) if self.crc is None else self.crc
        size = len(self.compressed) if self.size is None else self.size
        return (
            20,
            self.flags,
            self.method,
            0,
            33,
            crc,
            len(self.compressed),
            size,
            len(self.name),
            0,
        )

    def local(self) -> bytes:
        name = self.name if self.local_name is None else self.local_name
        return struct.pack("<4s5H3I2H", b"PK\3\4", *self.header_fields()) + name + self.compressed

    def entry(self, start: int) -> bytes:
        rest = (0, 0, 0, self.mode << 16, start)
        return (
            struct.pack("<4s6H3I5H2I", b"PK\1\2", 0x314, *self.header_fields(), *rest) + self.name
        )


def raw_zip(members: Iterable[RawMember], shared: bool = False) -> bytes:
    """Return a zip; with ``shared`` all entries refer to the content of the first member."""
    content, entries, number = bytearray(), bytearray(), 0
    for member in members:
        entries += member.entry(0 if shared else len(content))
        if not shared or not content:
            content += member.local()
        number += 1
    if shared:
        # Keeps the offsets in the directory within the file.
        content += bytes(100)
    number &= 0xFFFF
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, number, number, len(entries), len(content), 0)
    return bytes(content + entries + end)


def zip64_end(members: int, start: int, size: int) -> bytes:
    """Return the zip64 end record, locator and end record of a zip."""
    return (
        struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, members, members, size, start)
        + struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
        + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    )


def deflate(content: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


def tar_header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """Return the header of a tar member."""
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, target
    return member.tobuf(tarfile.GNU_FORMAT)


def pad_to_block(content: bytes) -> bytes:
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)


def gzip_zeros(mebibytes: int) -> bytes:
    """Return zeros compressed by gzip, quickly: one compressed MiB, repeated."""
    return gzip.compress(bytes(1 << 20)) * mebibytes


def list_paths(path: Path) -> list[str]:
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


def refusal_message(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_all(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is refused: ")
    assert "Nothing was unpacked" in message
    assert "\n" not in message
    return message
