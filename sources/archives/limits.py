"""Limits for hostile archives. An archive beyond a limit is refused as a whole."""

from pathlib import Path

from config.errors import SourceError
from sources.archives.source_file import escape_name

MAX_FILES = 500_000

# Pictures rarely compress to less than a tenth. A blank picture can exceed the ratio, so small
# members and archives are not checked.
MAX_RATIO = 200
MIN_CHECKED_MEMBER_BYTES = 64 << 20
MIN_CHECKED_ARCHIVE_BYTES = 1 << 30


def refuse_archive(
    archive: Path, reason: str, member: str | None = None, advice: str | None = None
) -> SourceError:
    """Return the error for an archive that is refused.

    Parameters
    ----------
    archive : Path
        The archive.
    reason : str
        Verb phrase that follows the name of the archive or member.
    member : str or None
        Name of the member that is the reason.
    advice : str or None
        Sentence that says what to do; None for the default one.

    Returns
    -------
    SourceError
        The error.
    """
    subject = "" if member is None else f"its member {_quote(member)} "
    return SourceError(
        f"{archive} is refused: {subject}{reason}. Nothing was unpacked or imported. "
        + (advice or "Download it again from its authors, or repack its pictures.")
    )


def check_count(archive: Path, members: int, max_files: int) -> None:
    """Check the number of members of an archive.

    Parameters
    ----------
    archive : Path
        The archive.
    members : int
        Number of members.
    max_files : int
        Maximum number of members.

    Raises
    ------
    SourceError
        If there are more members.
    """
    if members > max_files:
        raise refuse_archive(
            archive,
            f"it holds more than {max_files:,} members",
            advice="Check that it is the right archive; if so, unpack it and give the folder.",
        )


def check_member(archive: Path, member: str, size: int, compressed_size: int) -> None:
    """Check the compression ratio of a member.

    Parameters
    ----------
    archive : Path
        The archive.
    member : str
        Name of the member.
    size : int, bytes
        Size of its content.
    compressed_size : int, bytes
        Size in the archive.

    Raises
    ------
    SourceError
        If a large member exceeds ``MAX_RATIO``.
    """
    if size > MIN_CHECKED_MEMBER_BYTES and size > MAX_RATIO * compressed_size:
        raise refuse_archive(archive, _describe_ratio(size, compressed_size), member)


def check_total(archive: Path, size: int, compressed_size: int) -> None:
    """Check the compression ratio of an archive.

    Parameters
    ----------
    archive : Path
        The archive.
    size : int, bytes
        Total size of the contents.
    compressed_size : int, bytes
        Size of the archive.

    Raises
    ------
    SourceError
        If a large archive exceeds ``MAX_RATIO``.
    """
    if size > MIN_CHECKED_ARCHIVE_BYTES and size > MAX_RATIO * compressed_size:
        raise refuse_archive(archive, f"it {_describe_ratio(size, compressed_size)}")


def _describe_ratio(size: int, compressed_size: int) -> str:
    return (
        f"unpacks from {compressed_size / 2**20:,.1f} MiB to {size / 2**20:,.0f} MiB or more, "
        f"over {MAX_RATIO} times as much"
    )


def _quote(name: str) -> str:
    """Quote a name in one line, shortened in the middle."""
    text = escape_name(name)
    return repr(text if len(text) <= 120 else f"{text[:100]}…{text[-19:]}")
