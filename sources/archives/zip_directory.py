"""The central directory of a zip archive, read entry by entry.

``zipfile`` loads the complete directory: 900 MB for the 1.45 million members of one real archive.
Of an archive that was truncated after a nested zip, ``zipfile`` would read the nested one.
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

# Placeholder for a number that is in the zip64 extra field.
_IN_EXTRA_FIELD = 0xFFFF_FFFF
_ZIP64_TAG = 1


@dataclass(frozen=True)
class CentralDirectory:
    """Location of a zip's central directory.

    Attributes
    ----------
    start : int, bytes
        Offset in the file.
    size : int, bytes
        Length.
    num_members : int
        Number of members that the end record declares.
    """

    start: int
    size: int
    num_members: int


class ZipEntry(NamedTuple):
    """One entry of the central directory.

    Attributes
    ----------
    name : bytes
        Name as stored.
    start : int, bytes
        Offset of the local header.
    compressed_size : int, bytes
        Size in the archive.
    size : int, bytes
        Size of the content.
    crc : int
        CRC-32 of the content.
    method : int
        Compression method.
    flags : int
        General purpose bit flags.
    mode : int
        Unix file type and permissions; 0 if unknown.
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
    """Find the central directory by the end record of a zip archive.

    Parameters
    ----------
    file : BinaryIO
        The archive.

    Returns
    -------
    CentralDirectory
        Location of the directory.

    Raises
    ------
    CorruptMember
        If the end record is missing or inconsistent.
    NotImplementedError
        If the archive is one part of several.
    """
    length = file.seek(0, 2)
    # A comment of up to 64 KiB can follow the record, and a zip64 locator can precede it.
    tail_start = file.seek(max(0, length - (1 << 16) - _END_RECORD.size - _ZIP64_LOCATOR.size))
    tail = file.read()
    offset = tail.rfind(b"PK\5\6")
    if offset < 0 or len(tail) < offset + _END_RECORD.size:
        raise CorruptMember("the end record is missing")
    disk, first_disk, members, size, start, comment = _END_RECORD.unpack_from(tail, offset)
    if len(tail) < offset + _END_RECORD.size + comment:
        raise CorruptMember("the end is missing")
    end = tail_start + offset
    locator = tail[max(0, offset - _ZIP64_LOCATOR.size) : offset]
    if locator.startswith(b"PK\6\7"):
        (end,) = _ZIP64_LOCATOR.unpack(locator)
        record = _read_at(file, end, _ZIP64_END_RECORD.size) if end < length else b""
        if len(record) < _ZIP64_END_RECORD.size or not record.startswith(b"PK\6\6"):
            raise CorruptMember("the zip64 end record is missing")
        disk, first_disk, members, size, start = _ZIP64_END_RECORD.unpack(record)
    if disk or first_disk:
        raise NotImplementedError("it is one part of several")
    if start + size != end:
        raise CorruptMember("the directory is not where the end record says")
    return CentralDirectory(start, size, members)


def read_entries(file: BinaryIO, directory: CentralDirectory) -> Iterator[ZipEntry]:
    """Iterate over the entries of the central directory.

    Parameters
    ----------
    file : BinaryIO
        The archive; not to be read by others during the iteration.
    directory : CentralDirectory
        Location of the directory.

    Yields
    ------
    ZipEntry
        Entries in the order of the directory.

    Raises
    ------
    CorruptMember
        If the directory is malformed or does not fit the end record.
    """
    file.seek(directory.start)
    remaining, members = directory.size, 0
    while remaining > 0:
        fixed = file.read(_DIRECTORY_ENTRY.size)
        if len(fixed) < _DIRECTORY_ENTRY.size or not fixed.startswith(b"PK\1\2"):
            raise CorruptMember("the directory is malformed")
        flags, method, crc, compressed_size, size, *lengths, attributes, start = (
            _DIRECTORY_ENTRY.unpack(fixed)
        )
        name_size, extra_size, comment_size = lengths
        rest = file.read(name_size + extra_size + comment_size)
        remaining -= len(fixed) + len(rest)
        name, extra = rest[:name_size], rest[name_size : name_size + extra_size]
        if _IN_EXTRA_FIELD in (size, compressed_size, start):
            size, compressed_size, start = _read_zip64_sizes(extra, size, compressed_size, start)
        if start + len(name) + compressed_size > directory.start:
            raise CorruptMember("a member is not where the directory says")
        members += 1
        yield ZipEntry(name, start, compressed_size, size, crc, method, flags, attributes >> 16)
    # Older programs let the 16-bit count overflow.
    if remaining or (members - directory.num_members) % (1 << 16):
        raise CorruptMember("the directory has other members than the end record says")


def _read_zip64_sizes(extra: bytes, *numbers: int) -> list[int]:
    """Return the numbers, with placeholders replaced from the zip64 extra field."""
    offset = 0
    while offset + _EXTRA_FIELD.size <= len(extra):
        tag, length = _EXTRA_FIELD.unpack_from(extra, offset)
        offset += _EXTRA_FIELD.size
        if tag == _ZIP64_TAG:
            field = extra[offset : offset + length]
            values = (
                int.from_bytes(field[i : i + 8], "little") for i in range(0, len(field) - 7, 8)
            )
            return [next(values, n) if n == _IN_EXTRA_FIELD else n for n in numbers]
        offset += length
    return list(numbers)


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
