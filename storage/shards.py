"""Shards: plain tar files whose members are read by offset and size."""

import io
import tarfile
from types import TracebackType
from typing import IO, Self

from storage.store import ObjectStore


class ShardWriter:
    """Write a reproducible tar: its bytes do not depend on time, machine or user.

    Use it as a context manager. The tar is complete when the block ends; the file stays open.

    Parameters
    ----------
    file : binary file
        Open for writing.

    Attributes
    ----------
    num_members : int
        Number of members written so far.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> with ShardWriter(file) as shard:
    ...     offset = shard.add("00000000.png", b"content")
    >>> file.getvalue()[offset : offset + 7]
    b'content'
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self.num_members = 0

    def add(self, name: str, data: bytes) -> int:
        """Append a member.

        Parameters
        ----------
        name : str
            Name of the member, at most 100 bytes of UTF-8, or 256 with slashes.
        data : bytes
            Its content.

        Returns
        -------
        int
            Offset of the content's first byte in the tar.
        """
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
    """Read a member of a stored shard by its position.

    Parameters
    ----------
    store : ObjectStore
        The store.
    key : str
        Key of the shard.
    offset, size : int, bytes
        Position of the member's content in the tar.

    Returns
    -------
    bytes
        The member's content.

    Raises
    ------
    NotFoundError
        If the shard does not exist.
    CorruptObjectError
        If the shard ends before the member does.
    """
    with store.open_range(key, offset, size) as member:
        return member.read()
