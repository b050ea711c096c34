"""Names of an archive's members as relative paths; a name that leads elsewhere is none."""

import re
import unicodedata
from pathlib import Path

from sources.archives.limits import refuse_archive
from sources.archives.source_file import escape_name

# Longer than any system's file names, and far shorter than a header could hold.
_MAX_NAME_LENGTH = 1024

_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127) if chr(code) not in "\n\t"}


def clean_name(archive: Path, name: str) -> str:
    """Return a member's name as a normalised relative path.

    In NFC, without ``.`` and empty segments; bytes that are not UTF-8 (surrogates here) and
    control characters become escapes.

    Raises
    ------
    SourceError
        If it leads out of a folder that the archive would be unpacked to, is cut by some programs,
        or is empty or longer than 1,024 characters.
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
