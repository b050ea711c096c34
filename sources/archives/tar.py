"""Tars, compressed or not, read as one stream from the first byte to the last."""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedIOBase, BufferedReader
from pathlib import Path

from sources.archives.archive import Archive, Damaged, explained
from sources.archives.limits import check_count, check_member, check_total, refused
from sources.archives.member_names import clean_name
from sources.archives.source_file import SourceFile, printable

# How a compressed tar begins, and what unpacks it.
PACKINGS: dict[bytes, Callable[[BufferedReader], BufferedIOBase]] = {
    b"\x1f\x8b": lambda packed: gzip.GzipFile(fileobj=packed),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}

_BLOCK = tarfile.BLOCKSIZE
_PIECE = 1 << 20
_MAX_HEADER = 1 << 20

# Packed bytes that the unpackers read before they are asked for what is in them.
_AHEAD = 1 << 18

_LONG_NAMES = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_SPARSE = "GNU.sparse."
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
_SPECIAL = {
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a FIFO",
}


class TarSource(Archive):
    """The regular files of a tar, in the archive's order."""

    def files(self) -> Iterator[SourceFile]:
        """Yield the files; see ``sources.archives.archive.Archive``."""
        seen: set[str] = set()
        with explained(self._path), self._path.open("rb") as packed, _unpack(packed) as unpacked:
            stream = _Stream(self._path, packed, unpacked)
            for number, member in enumerate(_members(self._path, stream), 1):
                check_count(self._path, number, self._max_files)
                if member.isdir():
                    continue
                name = clean_name(self._path, member.name)
                if name in seen:
                    raise refused(self._path, "is there twice", member.name)
                seen.add(name)
                if member.islnk() or member.issym():
                    yield SourceFile(name, 0, bytes, link=printable(member.linkname))
                elif not member.isreg():
                    unknown = f"of type {member.type.decode('latin-1')!r}"
                    special = _SPECIAL.get(member.type, unknown)
                    yield SourceFile(name, 0, bytes, special=special)
                else:
                    read = partial(self._read, stream, stream.position, member.size)
                    yield SourceFile(name, member.size, read)

    def _read(self, stream: "_Stream", start: int, size: int) -> bytes:
        assert stream.position == start, "a file is read once, before the next is asked for"
        with explained(self._path):
            return stream.read(size)


def _unpack(packed: BufferedReader) -> BufferedIOBase:
    start = packed.read(6)
    packed.seek(0)
    for magic, unpack in PACKINGS.items():
        if start.startswith(magic):
            return unpack(packed)
    return packed


class _Stream:
    """A tar's unpacked bytes, counted against the packed ones.

    ``tarfile`` would not do: it keeps every header, reads headers of any size and stops at the end
    mark, before a checksum of the compressed data is met.
    """

    def __init__(self, archive: Path, packed: BufferedReader, unpacked: BufferedIOBase) -> None:
        self._archive = archive
        self._packed = packed
        self._unpacked = unpacked
        self.position = 0
        self.enter("")

    def enter(self, member: str) -> None:
        """Note that a member begins here."""
        self._member = member
        self._start = self.position
        self._packed_start = self._packed.tell()

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield exactly so many bytes in pieces that memory holds."""
        while size > 0:
            piece = self._piece(min(size, _PIECE))
            if not piece:
                raise EOFError("the end is missing")
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        """Return exactly so many bytes."""
        return b"".join(self.pieces(size))

    def rest(self) -> Iterator[bytes]:
        """Yield all that is left."""
        return iter(partial(self._piece, _PIECE), b"")

    def _piece(self, size: int) -> bytes:
        piece = self._unpacked.read(size)
        self.position += len(piece)
        packed = self._packed.tell()
        since = packed - self._packed_start + _AHEAD
        check_member(self._archive, self._member, self.position - self._start, since)
        check_total(self._archive, self.position, packed)
        return piece


def _members(archive: Path, stream: _Stream) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of all members, each with the stream at the member's content."""
    everywhere: dict[str, str] = {}
    here: dict[str, str] = {}
    while any(block := stream.read(_BLOCK)):
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        stream.enter(header.name)
        if header.type in _LONG_NAMES or header.type in _PAX:
            if not 0 <= header.size <= _MAX_HEADER:
                raise refused(archive, "has a header that is far too large", header.name)
            content = stream.read(_padded(header.size))[: header.size]
            if header.type in _LONG_NAMES:
                here[_LONG_NAMES[header.type]] = _decode(content.rstrip(b"\0"))
            elif header.type == tarfile.XGLTYPE:
                everywhere |= _read_pax(content)
            else:
                here |= _read_pax(content)
            continue
        _amend(archive, header, everywhere | here)
        here = {}
        # Of the known types, only files have content.
        has_content = header.isreg() or header.type not in tarfile.SUPPORTED_TYPES
        end = stream.position + (_padded(header.size) if has_content else 0)
        yield header
        for _ in stream.pieces(end - stream.position):
            pass
    # To the last byte, where gzip has its checksum; and whatever else is there would be lost.
    for piece in stream.rest():
        if piece.strip(b"\0"):
            raise Damaged("there is more after the end mark")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _amend(archive: Path, header: tarfile.TarInfo, extended: dict[str, str]) -> None:
    """Put in what a member's extended headers say."""
    if header.type == tarfile.GNUTYPE_SPARSE or _SPARSE in extended:
        raise refused(archive, "is stored sparse", header.name, "Pack it without --sparse.")
    header.name = extended.get("path", header.name)
    header.linkname = extended.get("linkpath", header.linkname)
    if "size" in extended:
        try:
            header.size = int(extended["size"])
        except ValueError:
            raise Damaged("a size is no number") from None
    if header.size < 0:
        raise Damaged("a size is negative")


def _read_pax(content: bytes) -> dict[str, str]:
    """Return the records of an extended header that matter here.

    Each is its own length, a blank, ``key=value`` and a line's end.
    """
    records = {}
    start = 0
    while start < len(content):
        blank = content.find(b" ", start, start + 9)
        length = content[start : max(blank, 0)]
        end = start + int(length) if length.isdigit() else 0
        if end <= blank or content[end - 1 : end] != b"\n":
            raise Damaged("an extended header is not as it should be")
        key, _, value = content[blank + 1 : end - 1].partition(b"=")
        if key in (b"path", b"linkpath", b"size"):
            records[key.decode()] = _decode(value)
        elif key.startswith(_SPARSE.encode()):
            records[_SPARSE] = _decode(value)
        start = end
    return records


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
