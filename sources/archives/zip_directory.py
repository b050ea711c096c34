"""The directory at a zip's end, read entry by entry.

``zipfile`` keeps it whole: 900 MB for the 1.45 million members of one real archive. And of a zip
that was cut behind a zip within it, ``zipfile`` would read the inner one.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from sources.archives.archive import CorruptMember

_END_RECORD = struct.Struct("<4x2H2xH2IH")
_ZIP64_LOCATOR = struct.Struct("<8xQ4x")
_ZIP64_END_RECORD = struct.Struct("<16x2I8x3Q")
_DIRECTORY_ENTRY = struct.Struct("<8x2H4x3I3H4x2I")
_EXTRA_FIELD = struct.Struct("<HH")

# Stands for a number that has no room, but is in the field of this kind.
_IN_EXTRA_FIELD = 0xFFFF_FFFF
_ZIP64_TAG = 1


@dataclass(frozen=True)
class CentralDirectory:
    """Where a zip's directory is, in bytes, and how many members it says it has."""

    start: int
    size: int
    num_members: int


class ZipEntry(NamedTuple):
    """One member as the directory has it.

    Attributes
    ----------
    name : as bytes.
    start : of its local header.
    packed, size : bytes in the archive, and unpacked.
    crc : CRC-32 of the content.
    method : how it is packed.
    flags : general purpose bits.
    mode : type and permissions as in Unix; 0 where they are not known.
    """

    name: bytes
    start: int
    compressed_size: int
    size: int
    crc: int
    method: int
    flags: int
    mode: int


def find_directory(file: BinaryIO) -> CentralDirectory:
    """Find a zip's directory by the record at the file's end."""
    length = file.seek(0, 2)
    # Behind the record a comment of up to 64 KiB can stand, before it what a large zip adds.
    tail_at = file.seek(max(0, length - (1 << 16) - _END_RECORD.size - _ZIP64_LOCATOR.size))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + _END_RECORD.size:
        raise CorruptMember("the end record is missing")
    part, first, members, size, start, comment = _END_RECORD.unpack_from(tail, at)
    if len(tail) < at + _END_RECORD.size + comment:
        raise CorruptMember("the end is missing")
    end = tail_at + at
    locator = tail[max(0, at - _ZIP64_LOCATOR.size) : at]
    if locator.startswith(b"PK\6\7"):
        (end,) = _ZIP64_LOCATOR.unpack(locator)
        record = _read_at(file, end, _ZIP64_END_RECORD.size) if end < length else b""
        if len(record) < _ZIP64_END_RECORD.size or not record.startswith(b"PK\6\6"):
            raise CorruptMember("the large end record is missing")
        part, first, members, size, start = _ZIP64_END_RECORD.unpack(record)
    if part or first:
        raise NotImplementedError("it is one part of several")
    if start + size != end:
        raise CorruptMember("the directory is not where the end record says")
    return CentralDirectory(start, size, members)


def read_entries(file: BinaryIO, directory: CentralDirectory) -> Iterator[ZipEntry]:
    """Yield a zip's members as its directory has them."""
    file.seek(directory.start)
    left, members = directory.size, 0
    while left > 0:
        fixed = file.read(_DIRECTORY_ENTRY.size)
        if len(fixed) < _DIRECTORY_ENTRY.size or not fixed.startswith(b"PK\1\2"):
            raise CorruptMember("the directory is not as it should be")
        flags, method, crc, packed, size, *lengths, attributes, start = _DIRECTORY_ENTRY.unpack(
            fixed
        )
        name_size, extra_size, comment_size = lengths
        rest = file.read(name_size + extra_size + comment_size)
        left -= len(fixed) + len(rest)
        name, extra = rest[:name_size], rest[name_size : name_size + extra_size]
        if _IN_EXTRA_FIELD in (size, packed, start):
            size, packed, start = _read_zip64_sizes(extra, size, packed, start)
        if start + len(name) + packed > directory.start:
            raise CorruptMember("a member is not where the directory says")
        members += 1
        yield ZipEntry(name, start, packed, size, crc, method, flags, attributes >> 16)
    # Older writers let the count run over.
    if left or (members - directory.num_members) % (1 << 16):
        raise CorruptMember("the directory has other members than the end record says")


def _read_zip64_sizes(extra: bytes, *numbers: int) -> list[int]:
    """Return the numbers with those that have no room taken from the zip64 field."""
    at = 0
    while at + _EXTRA_FIELD.size <= len(extra):
        kind, length = _EXTRA_FIELD.unpack_from(extra, at)
        at += _EXTRA_FIELD.size
        if kind == _ZIP64_TAG:
            field = extra[at : at + length]
            wide = (int.from_bytes(field[i : i + 8], "little") for i in range(0, len(field) - 7, 8))
            return [next(wide, n) if n == _IN_EXTRA_FIELD else n for n in numbers]
        at += length
    return list(numbers)


def _read_at(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)
