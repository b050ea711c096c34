"""The directory at a zip's end, read entry by entry.

``zipfile`` keeps it whole: 900 MB for the 1.45 million members of one real archive. And of a zip
that was cut behind a zip within it, ``zipfile`` would read the inner one.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from sources.archives.archive import Damaged

_END = struct.Struct("<4x2H2xH2IH")
_LOCATOR_64 = struct.Struct("<8xQ4x")
_END_64 = struct.Struct("<16x2I8x3Q")
_ENTRY = struct.Struct("<8x2H4x3I3H4x2I")
_FIELD = struct.Struct("<HH")

# Stands for a number that has no room, but is in the field of this kind.
_ELSEWHERE = 0xFFFF_FFFF
_ZIP64 = 1


@dataclass(frozen=True)
class Directory:
    """Where a zip's directory is, in bytes, and how many members it says it has."""

    start: int
    size: int
    members: int


class Entry(NamedTuple):
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
    packed: int
    size: int
    crc: int
    method: int
    flags: int
    mode: int


def find_directory(file: BinaryIO) -> Directory:
    """Find a zip's directory by the record at the file's end."""
    length = file.seek(0, 2)
    # Behind the record a comment of up to 64 KiB can stand, before it what a large zip adds.
    tail_at = file.seek(max(0, length - (1 << 16) - _END.size - _LOCATOR_64.size))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + _END.size:
        raise Damaged("the end record is missing")
    part, first, members, size, start, comment = _END.unpack_from(tail, at)
    if len(tail) < at + _END.size + comment:
        raise Damaged("the end is missing")
    end = tail_at + at
    locator = tail[max(0, at - _LOCATOR_64.size) : at]
    if locator.startswith(b"PK\6\7"):
        (end,) = _LOCATOR_64.unpack(locator)
        record = _read_at(file, end, _END_64.size) if end < length else b""
        if len(record) < _END_64.size or not record.startswith(b"PK\6\6"):
            raise Damaged("the large end record is missing")
        part, first, members, size, start = _END_64.unpack(record)
    if part or first:
        raise NotImplementedError("it is one part of several")
    if start + size != end:
        raise Damaged("the directory is not where the end record says")
    return Directory(start, size, members)


def read_entries(file: BinaryIO, directory: Directory) -> Iterator[Entry]:
    """Yield a zip's members as its directory has them."""
    file.seek(directory.start)
    left, members = directory.size, 0
    while left > 0:
        fixed = file.read(_ENTRY.size)
        if len(fixed) < _ENTRY.size or not fixed.startswith(b"PK\1\2"):
            raise Damaged("the directory is not as it should be")
        flags, method, crc, packed, size, *lengths, attributes, start = _ENTRY.unpack(fixed)
        name_size, extra_size, comment_size = lengths
        rest = file.read(name_size + extra_size + comment_size)
        left -= len(fixed) + len(rest)
        name, extra = rest[:name_size], rest[name_size : name_size + extra_size]
        if _ELSEWHERE in (size, packed, start):
            size, packed, start = _widen(extra, size, packed, start)
        if start + len(name) + packed > directory.start:
            raise Damaged("a member is not where the directory says")
        members += 1
        yield Entry(name, start, packed, size, crc, method, flags, attributes >> 16)
    # Older writers let the count run over.
    if left or (members - directory.members) % (1 << 16):
        raise Damaged("the directory has other members than the end record says")


def _widen(extra: bytes, *numbers: int) -> list[int]:
    """Return the numbers with those that have no room taken from the zip64 field."""
    at = 0
    while at + _FIELD.size <= len(extra):
        kind, length = _FIELD.unpack_from(extra, at)
        at += _FIELD.size
        if kind == _ZIP64:
            field = extra[at : at + length]
            wide = (int.from_bytes(field[i : i + 8], "little") for i in range(0, len(field) - 7, 8))
            return [next(wide, n) if n == _ELSEWHERE else n for n in numbers]
        at += length
    return list(numbers)


def _read_at(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)
