"""Zip archives, read by member: only the requested members are decompressed."""

import bz2
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import BinaryIO, Protocol

from config.errors import SourceError
from sources.archives.archive import Archive, CorruptMember, translate_errors
from sources.archives.limits import check_count, check_member, check_total, refuse_archive
from sources.archives.member_names import clean_name
from sources.archives.source_file import SourceFile
from sources.archives.zip_directory import CentralDirectory, ZipEntry, find_directory, read_entries


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_LOCAL_HEADER = struct.Struct("<26x2H")

_STORED = 0
_METHODS: dict[int, Callable[[], _Decompressor]] = {
    8: partial(zlib.decompressobj, -zlib.MAX_WBITS),
    12: bz2.BZ2Decompressor,
}

# Encrypted content, and encrypted central directory.
_ENCRYPTED_FLAG = 0x1 | 0x2000
_UTF_8_FLAG = 0x800

_MAX_LINK_TARGET_BYTES = 4096
_SPECIAL_TYPES = {
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder named as a file",
}


class ZipSource(Archive):
    """The files of a zip archive, in the order of its central directory."""

    def files(self) -> Iterator[SourceFile]:
        """Iterate over the files; see ``sources.archives.archive.Archive``."""
        # Two file objects: one reads the directory sequentially, one seeks to the contents.
        with (
            translate_errors(self._path),
            self._path.open("rb") as listing,
            self._path.open("rb") as file,
        ):
            directory = find_directory(listing)
            paths = iter(self._check_limits(listing, directory))
            for entry in read_entries(listing, directory):
                if _is_folder(entry):
                    continue
                path = next(paths)
                kind = stat.S_IFMT(entry.mode)
                if kind == stat.S_IFLNK:
                    yield SourceFile(path, 0, bytes, link=self._read_link_target(file, entry))
                elif kind not in (0, stat.S_IFREG):
                    special = _SPECIAL_TYPES.get(kind, "of no known type")
                    yield SourceFile(path, 0, bytes, special=special)
                else:
                    yield SourceFile(path, entry.size, partial(self._read, file, entry))

    def _check_limits(self, listing: BinaryIO, directory: CentralDirectory) -> Iterable[str]:
        """Check the complete directory before any content is read; return the files' paths."""
        check_count(self._path, directory.num_members, self._max_files)
        paths: dict[str, None] = {}
        size = compressed_size = 0
        for number, entry in enumerate(read_entries(listing, directory), 1):
            check_count(self._path, number, self._max_files)
            if _is_folder(entry):
                continue
            if entry.flags & _ENCRYPTED_FLAG:
                raise SourceError(
                    f"{self._path} is protected by a password. Unpack it and give the folder."
                )
            name = _decode_name(entry)
            path = clean_name(self._path, name)
            if path in paths:
                raise refuse_archive(self._path, "occurs twice", name)
            paths[path] = None
            check_member(self._path, name, entry.size, entry.compressed_size)
            size += entry.size
            compressed_size += _LOCAL_HEADER.size + len(entry.name) + entry.compressed_size
        check_total(self._path, size, directory.start)
        if compressed_size > directory.start:
            raise refuse_archive(self._path, "its members overlap")
        return paths

    def _read_link_target(self, file: BinaryIO, entry: ZipEntry) -> str:
        if entry.size > _MAX_LINK_TARGET_BYTES:
            return f"a name of {entry.size:,} bytes"
        return self._read(file, entry).decode("utf-8", "backslashreplace")

    def _read(self, file: BinaryIO, entry: ZipEntry) -> bytes:
        with translate_errors(self._path):
            file.seek(entry.start)
            header = file.read(_LOCAL_HEADER.size)
            if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
                raise CorruptMember(f"{_decode_name(entry)!r} is not where the directory says")
            name_size, extra_size = _LOCAL_HEADER.unpack(header)
            if file.read(name_size) != entry.name:
                raise CorruptMember(f"{_decode_name(entry)!r} has another name in the directory")
            file.seek(extra_size, 1)
            # Compression adds few bytes; a member that declares more is not read completely.
            compressed = file.read(min(entry.compressed_size, 2 * entry.size + 4096))
            return _decompress(entry, compressed)


def _decompress(entry: ZipEntry, compressed: bytes) -> bytes:
    content, is_complete = compressed, True
    if entry.method != _STORED:
        if entry.method not in _METHODS:
            raise NotImplementedError(
                f"{_decode_name(entry)!r} uses compression method {entry.method}, which is not "
                "supported"
            )
        decompressor = _METHODS[entry.method]()
        # One byte more than declared detects a longer content without decompressing all of it.
        content = decompressor.decompress(compressed, entry.size + 1)
        is_complete = decompressor.eof
    if not is_complete or len(content) != entry.size:
        raise CorruptMember(f"{_decode_name(entry)!r} has another size than the directory says")
    if zlib.crc32(content) != entry.crc:
        raise CorruptMember(f"{_decode_name(entry)!r} has another CRC-32 than the directory says")
    return content


def _is_folder(entry: ZipEntry) -> bool:
    # By the name, as in zipfile. An entry with content is a file with a corrupt name.
    return entry.name.endswith((b"/", b"\\")) and not entry.size


def _decode_name(entry: ZipEntry) -> str:
    """Decode a member's name, with ``/`` and surrogates for undecodable bytes."""
    try:
        name = entry.name.decode()
    except UnicodeDecodeError:
        # Many programs write UTF-8 without the flag. Other code pages are not declared.
        is_utf_8 = entry.flags & _UTF_8_FLAG
        name = entry.name.decode("utf-8" if is_utf_8 else "cp437", "surrogateescape")
    return name.replace("\\", "/")
