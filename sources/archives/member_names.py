"""Validation of the names of archive members as relative paths."""

import re
import unicodedata
from pathlib import Path

from sources.archives.limits import refuse_archive
from sources.archives.source_file import escape_name

# Longer than the file names of any system, and much shorter than a header could hold.
_MAX_NAME_LENGTH = 1024

_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127) if chr(code) not in "\n\t"}


def clean_name(archive: Path, name: str) -> str:
    """Normalize the name of a member to a relative path.

    The result is in Unicode NFC, without ``.`` and empty segments. Bytes that are not UTF-8
    (surrogates in ``name``) and control characters are escaped.

    Parameters
    ----------
    archive : Path
        The archive, for the message.
    name : str
        Name of the member, with ``/`` between segments.

    Returns
    -------
    str
        Relative path.

    Raises
    ------
    SourceError
        If the name is absolute, has a drive, ``..`` or a NUL character, is empty, or is longer than
        1,024 characters.

    Examples
    --------
    >>> clean_name(Path("x.zip"), "./a//b/c.png")
    'a/b/c.png'
    """
    segments = name.split("/")
    if not segments[0] and len(segments) > 1:
        raise refuse_archive(archive, "has an absolute name", name)
    if ".." in segments:
        raise refuse_archive(archive, "leads to a parent folder", name)
    if "\0" in name:
        raise refuse_archive(archive, "has a NUL in its name", name)
    path = "/".join(segment for segment in segments if segment not in ("", "."))
    path = unicodedata.normalize("NFC", escape_name(path).translate(_CONTROLS))
    if _DRIVE.match(path):
        raise refuse_archive(archive, "names a drive", name)
    if not path:
        raise refuse_archive(archive, "has no name", name)
    if len(path) > _MAX_NAME_LENGTH:
        raise refuse_archive(
            archive, f"has a name of more than {_MAX_NAME_LENGTH:,} characters", name
        )
    return path
