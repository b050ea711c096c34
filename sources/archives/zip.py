"""Zips, read by member: what is not asked for is passed over."""

import bz2
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import BinaryIO, Protocol

from config.errors import SourceError
from sources.archives.archive import Archive, Damaged, explained
from sources.archives.limits import check_count, check_member, check_total, refused
from sources.archives.member_names import clean_name
from sources.archives.source_file import SourceFile
from sources.archives.zip_directory import Directory, Entry, find_directory, read_entries


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_LOCAL = struct.Struct("<26x2H")

_STORED = 0
_METHODS: dict[int, Callable[[], _Decompressor]] = {
    8: partial(zlib.decompressobj, -zlib.MAX_WBITS),
    12: bz2.BZ2Decompressor,
}

# Bits for a content, and for a directory, that is encrypted.
_ENCRYPTED = 0x1 | 0x2000
_UTF_8 = 0x800

_LONGEST_TARGET = 4096
_SPECIAL = {
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder named as a file",
}


class ZipSource(Archive):
    """The regular files of a zip, in its directory's order."""

    def files(self) -> Iterator[SourceFile]:
        """Yield the files; see ``sources.archives.archive.Archive``."""
        # Two places in the file: one goes along the directory, one to and fro for content.
        with (
            explained(self._path),
            self._path.open("rb") as listing,
            self._path.open("rb") as file,
        ):
            directory = find_directory(listing)
            paths = iter(self._check(listing, directory))
            for entry in read_entries(listing, directory):
                if _is_folder(entry):
                    continue
                path = next(paths)
                kind = stat.S_IFMT(entry.mode)
                if kind == stat.S_IFLNK:
                    yield SourceFile(path, 0, bytes, link=self._target(file, entry))
                elif kind not in (0, stat.S_IFREG):
                    special = _SPECIAL.get(kind, "of no known type")
                    yield SourceFile(path, 0, bytes, special=special)
                else:
                    yield SourceFile(path, entry.size, partial(self._read, file, entry))

    def _check(self, listing: BinaryIO, directory: Directory) -> Iterable[str]:
        """Go through the whole directory before anything is read; return the files' paths."""
        check_count(self._path, directory.members, self._max_files)
        seen: dict[str, None] = {}
        size = packed = 0
        for number, entry in enumerate(read_entries(listing, directory), 1):
            check_count(self._path, number, self._max_files)
            if _is_folder(entry):
                continue
            if entry.flags & _ENCRYPTED:
                raise SourceError(
                    f"{self._path} is protected by a password. Unpack it and give the folder."
                )
            name = _name(entry)
            path = clean_name(self._path, name)
            if path in seen:
                raise refused(self._path, "is there twice", name)
            seen[path] = None
            check_member(self._path, name, entry.size, entry.packed)
            size += entry.size
            packed += _LOCAL.size + len(entry.name) + entry.packed
        check_total(self._path, size, directory.start)
        if packed > directory.start:
            raise refused(self._path, "its members overlap, so that it unpacks to more than it has")
        return seen

    def _target(self, file: BinaryIO, entry: Entry) -> str:
        if entry.size > _LONGEST_TARGET:
            return f"a name of {entry.size:,} bytes"
        return self._read(file, entry).decode("utf-8", "backslashreplace")

    def _read(self, file: BinaryIO, entry: Entry) -> bytes:
        with explained(self._path):
            file.seek(entry.start)
            header = file.read(_LOCAL.size)
            if len(header) < _LOCAL.size or not header.startswith(b"PK\3\4"):
                raise Damaged(f"{_name(entry)!r} is not where the directory says")
            name_size, extra_size = _LOCAL.unpack(header)
            if file.read(name_size) != entry.name:
                raise Damaged(f"{_name(entry)!r} has another name in the directory")
            file.seek(extra_size, 1)
            # Packing adds little; a member that says otherwise is not read into memory.
            packed = file.read(min(entry.packed, 2 * entry.size + 4096))
            return _unpack(entry, packed)


def _unpack(entry: Entry, packed: bytes) -> bytes:
    content, whole = packed, True
    if entry.method != _STORED:
        if entry.method not in _METHODS:
            raise NotImplementedError(f"{_name(entry)!r} is packed by method {entry.method}")
        decompressor = _METHODS[entry.method]()
        # One byte more than it should be shows that there is more, and no more is unpacked.
        content = decompressor.decompress(packed, entry.size + 1)
        whole = decompressor.eof
    if not whole or len(content) != entry.size:
        raise Damaged(f"{_name(entry)!r} has another size than the directory says")
    if zlib.crc32(content) != entry.crc:
        raise Damaged(f"{_name(entry)!r} has another CRC-32 than the directory says")
    return content


def _is_folder(entry: Entry) -> bool:
    # By its name alone, as zipfile has it; with content it is a file whose name was damaged.
    return entry.name.endswith((b"/", b"\\")) and not entry.size


def _name(entry: Entry) -> str:
    """Return a member's name with ``/``; bytes that are no text as surrogates."""
    try:
        name = entry.name.decode()
    except UnicodeDecodeError:
        # Many writers have UTF-8 without saying so. Of others the code page is not told.
        told = entry.flags & _UTF_8
        name = entry.name.decode("utf-8" if told else "cp437", "surrogateescape")
    return name.replace("\\", "/")
