"""Tar archives, compressed or not, read as one stream from the first to the last byte."""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedIOBase, BufferedReader
from pathlib import Path

from sources.archives.archive import Archive, CorruptMember, translate_errors
from sources.archives.limits import check_count, check_member, check_total, refuse_archive
from sources.archives.member_names import clean_name
from sources.archives.source_file import SourceFile, escape_name

# Decompressors by the first bytes of the archive.
COMPRESSIONS: dict[bytes, Callable[[BufferedReader], BufferedIOBase]] = {
    b"\x1f\x8b": lambda compressed: gzip.GzipFile(fileobj=compressed),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}

_BLOCK = tarfile.BLOCKSIZE
_CHUNK_SIZE = 1 << 20
_MAX_HEADER = 1 << 20

# Compressed bytes that a decompressor may read in advance.
_READ_AHEAD_BYTES = 1 << 18

_LONG_NAME_TYPES = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_SPARSE_KEY_PREFIX = "GNU.sparse."
_PAX_TYPES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
_SPECIAL_TYPES = {
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a FIFO",
}


class TarSource(Archive):
    """The files of a tar archive, in its order."""

    def files(self) -> Iterator[SourceFile]:
        """Iterate over the files; see ``sources.archives.archive.Archive``."""
        names: set[str] = set()
        with (
            translate_errors(self._path),
            self._path.open("rb") as compressed,
            _open_decompressed(compressed) as decompressed,
        ):
            stream = _TarStream(self._path, compressed, decompressed)
            for number, member in enumerate(_iter_members(self._path, stream), 1):
                check_count(self._path, number, self._max_files)
                if member.isdir():
                    continue
                name = clean_name(self._path, member.name)
                if name in names:
                    raise refuse_archive(self._path, "occurs twice", member.name)
                names.add(name)
                if member.islnk() or member.issym():
                    yield SourceFile(name, 0, bytes, link=escape_name(member.linkname))
                elif not member.isreg():
                    unknown = f"of type {member.type.decode('latin-1')!r}"
                    special = _SPECIAL_TYPES.get(member.type, unknown)
                    yield SourceFile(name, 0, bytes, special=special)
                else:
                    read = partial(self._read, stream, stream.position, member.size)
                    yield SourceFile(name, member.size, read)

    def _read(self, stream: "_TarStream", start: int, size: int) -> bytes:
        assert stream.position == start, "each file is read once, before the next one is requested"
        with translate_errors(self._path):
            return stream.read(size)


def _open_decompressed(raw: BufferedReader) -> BufferedIOBase:
    start = raw.read(6)
    raw.seek(0)
    for magic, decompress in COMPRESSIONS.items():
        if start.startswith(magic):
            return decompress(raw)
    return raw


class _TarStream:
    """The decompressed bytes of a tar archive, with a check of the compression ratio.

    ``tarfile`` is not used for this: it keeps every header in memory, reads headers of any size
    and stops at the end mark, before the checksum of the compressed data.
    """

    def __init__(
        self, archive: Path, compressed: BufferedReader, decompressed: BufferedIOBase
    ) -> None:
        self._archive = archive
        self._compressed = compressed
        self._decompressed = decompressed
        self.position = 0
        self.start_member("")

    def start_member(self, member: str) -> None:
        """Start counting the bytes of a member."""
        self._member = member
        self._start = self.position
        self._compressed_start = self._compressed.tell()

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        """Yield exactly ``size`` bytes in chunks."""
        while size > 0:
            chunk = self._read_chunk(min(size, _CHUNK_SIZE))
            if not chunk:
                raise EOFError("the end is missing")
            size -= len(chunk)
            yield chunk

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes."""
        return b"".join(self.iter_chunks(size))

    def read_rest(self) -> Iterator[bytes]:
        """Yield the remaining bytes in chunks."""
        return iter(partial(self._read_chunk, _CHUNK_SIZE), b"")

    def _read_chunk(self, size: int) -> bytes:
        chunk = self._decompressed.read(size)
        self.position += len(chunk)
        compressed_position = self._compressed.tell()
        compressed_size = compressed_position - self._compressed_start + _READ_AHEAD_BYTES
        check_member(self._archive, self._member, self.position - self._start, compressed_size)
        check_total(self._archive, self.position, compressed_position)
        return chunk


def _iter_members(archive: Path, stream: _TarStream) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of all members, with the stream at the start of the content."""
    global_records: dict[str, str] = {}
    member_records: dict[str, str] = {}
    while any(block := stream.read(_BLOCK)):
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        stream.start_member(header.name)
        if header.type in _LONG_NAME_TYPES or header.type in _PAX_TYPES:
            if not 0 <= header.size <= _MAX_HEADER:
                raise refuse_archive(archive, "has a header that is far too large", header.name)
            content = stream.read(_pad_to_block(header.size))[: header.size]
            if header.type in _LONG_NAME_TYPES:
                member_records[_LONG_NAME_TYPES[header.type]] = _decode(content.rstrip(b"\0"))
            elif header.type == tarfile.XGLTYPE:
                global_records |= _read_pax(content)
            else:
                member_records |= _read_pax(content)
            continue
        _apply_extended_header(archive, header, global_records | member_records)
        member_records = {}
        # Of the known types, only files have content.
        has_content = header.isreg() or header.type not in tarfile.SUPPORTED_TYPES
        end = stream.position + (_pad_to_block(header.size) if has_content else 0)
        yield header
        for _ in stream.iter_chunks(end - stream.position):
            pass
    # Read to the last byte: gzip has its checksum there, and further members would be lost.
    for chunk in stream.read_rest():
        if chunk.strip(b"\0"):
            raise CorruptMember("there is more data after the end mark")


def _pad_to_block(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _apply_extended_header(
    archive: Path, header: tarfile.TarInfo, extended: dict[str, str]
) -> None:
    """Apply the records of extended headers to a member's header."""
    if header.type == tarfile.GNUTYPE_SPARSE or _SPARSE_KEY_PREFIX in extended:
        raise refuse_archive(archive, "is stored sparse", header.name, "Pack it without --sparse.")
    header.name = extended.get("path", header.name)
    header.linkname = extended.get("linkpath", header.linkname)
    if "size" in extended:
        try:
            header.size = int(extended["size"])
        except ValueError:
            raise CorruptMember("a size is not a number") from None
    if header.size < 0:
        raise CorruptMember("a size is negative")


def _read_pax(content: bytes) -> dict[str, str]:
    r"""Parse the relevant records of an extended header.

    The format of a record is its own length, a space, ``key=value`` and ``\n``.
    """
    records = {}
    start = 0
    while start < len(content):
        space = content.find(b" ", start, start + 9)
        length = content[start : max(space, 0)]
        end = start + int(length) if length.isdigit() else 0
        if end <= space or content[end - 1 : end] != b"\n":
            raise CorruptMember("an extended header is malformed")
        key, _, value = content[space + 1 : end - 1].partition(b"=")
        if key in (b"path", b"linkpath", b"size"):
            records[key.decode()] = _decode(value)
        elif key.startswith(_SPARSE_KEY_PREFIX.encode()):
            records[_SPARSE_KEY_PREFIX] = _decode(value)
        start = end
    return records


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
