"""What an archive may ask of this machine; one that asks for more is refused as a whole."""

from pathlib import Path

from config.errors import SourceError
from sources.archives.source_file import printable

MAX_FILES = 500_000

# Pictures seldom pack to less than a tenth, so nothing real comes near; but a blank one does.
RATIO = 200
MEMBER_FLOOR = 64 << 20
ARCHIVE_FLOOR = 1 << 30


def refused(
    archive: Path, why: str, member: str | None = None, todo: str | None = None
) -> SourceError:
    """Return the error that says why an archive, or a member of it, is not read."""
    subject = "" if member is None else f"its member {_quoted(member)} "
    return SourceError(
        f"{archive} is refused: {subject}{why}. Nothing was unpacked or made of it. "
        + (todo or "Get it from its makers again, or pack its pictures anew.")
    )


def check_count(archive: Path, members: int, max_files: int) -> None:
    """Raise ``SourceError`` where an archive has too many members."""
    if members > max_files:
        raise refused(
            archive,
            f"it holds more than {max_files:,} members",
            todo="Is it the right one? If so, unpack it and give the folder.",
        )


def check_member(archive: Path, member: str, size: int, packed: int) -> None:
    """Raise ``SourceError`` where one member unpacks to far more bytes than it has packed."""
    if size > MEMBER_FLOOR and size > RATIO * packed:
        raise refused(archive, _bomb(size, packed), member)


def check_total(archive: Path, size: int, packed: int) -> None:
    """Raise ``SourceError`` where all members unpack to far more bytes than the archive has."""
    if size > ARCHIVE_FLOOR and size > RATIO * packed:
        raise refused(archive, f"it {_bomb(size, packed)}")


def _bomb(size: int, packed: int) -> str:
    return (
        f"unpacks from {packed / 2**20:,.1f} MiB to {size / 2**20:,.0f} MiB or more, "
        f"over {RATIO} times as much"
    )


def _quoted(name: str) -> str:
    """Return a name as it can stand in one line."""
    text = printable(name)
    return repr(text if len(text) <= 120 else f"{text[:100]}…{text[-19:]}")
