"""What an archive may ask of this machine; one that asks for more is refused as a whole."""

from pathlib import Path

from config.errors import SourceError
from sources.archives.source_file import escape_name

MAX_FILES = 500_000

# Pictures seldom pack to less than a tenth, so nothing real comes near; but a blank one does.
MAX_RATIO = 200
MIN_CHECKED_MEMBER_BYTES = 64 << 20
MIN_CHECKED_ARCHIVE_BYTES = 1 << 30


def refuse_archive(
    archive: Path, reason: str, member: str | None = None, advice: str | None = None
) -> SourceError:
    """Return the error that says why an archive, or a member of it, is not read."""
    subject = "" if member is None else f"its member {_quote(member)} "
    return SourceError(
        f"{archive} is refused: {subject}{reason}. Nothing was unpacked or made of it. "
        + (advice or "Get it from its makers again, or pack its pictures anew.")
    )


def check_count(archive: Path, members: int, max_files: int) -> None:
    """Raise ``SourceError`` where an archive has too many members."""
    if members > max_files:
        raise refuse_archive(
            archive,
            f"it holds more than {max_files:,} members",
            advice="Is it the right one? If so, unpack it and give the folder.",
        )


def check_member(archive: Path, member: str, size: int, compressed_size: int) -> None:
    """Raise ``SourceError`` where one member unpacks to far more bytes than it has packed."""
    if size > MIN_CHECKED_MEMBER_BYTES and size > MAX_RATIO * compressed_size:
        raise refuse_archive(archive, _describe_ratio(size, compressed_size), member)


def check_total(archive: Path, size: int, compressed_size: int) -> None:
    """Raise ``SourceError`` where all members unpack to far more bytes than the archive has."""
    if size > MIN_CHECKED_ARCHIVE_BYTES and size > MAX_RATIO * compressed_size:
        raise refuse_archive(archive, f"it {_describe_ratio(size, compressed_size)}")


def _describe_ratio(size: int, compressed_size: int) -> str:
    return (
        f"unpacks from {compressed_size / 2**20:,.1f} MiB to {size / 2**20:,.0f} MiB or more, "
        f"over {MAX_RATIO} times as much"
    )


def _quote(name: str) -> str:
    """Return a name as it can stand in one line."""
    text = escape_name(name)
    return repr(text if len(text) <= 120 else f"{text[:100]}…{text[-19:]}")
