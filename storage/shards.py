"""Shards: plain tar files whose members are found again by offset and size."""

import io
import tarfile
from types import TracebackType
from typing import IO, Self

from storage.store import ObjectStore


class ShardWriter:
    """Writes a tar with nothing in it that depends on the day, the machine or the user.

    Use as a context manager around a writable binary file; the tar is complete when the block ends,
    and the file is left open.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self.num_members = 0

    def add(self, name: str, data: bytes) -> int:
        """Append a member and return the offset of its first byte in the tar."""
        member = tarfile.TarInfo(name)
        member.size = len(data)
        header_at = self._tar.offset
        self._tar.addfile(member, io.BytesIO(data))
        self.num_members += 1
        return header_at + tarfile.BLOCKSIZE

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tar.close()


def read_member(store: ObjectStore, key: str, offset: int, size: int) -> bytes:
    """Return a member's bytes out of a stored shard.

    Raises
    ------
    NotFoundError
        If the shard is not there.
    CorruptObjectError
        If it ends before the member does.
    """
    with store.open_range(key, offset, size) as member:
        return member.read()
