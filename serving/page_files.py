"""The drawing page's files, as they lie in ``page/``."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

PAGE = Path(__file__).parent / "page"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class PageFile:
    """One file.

    Attributes
    ----------
    content, media_type : what is sent.
    etag : names the content.
    """

    content: bytes
    media_type: str
    etag: str


def load_page(folder: Path = PAGE) -> dict[str, PageFile]:
    """Return the files by name; nothing else is ever sent of the folder."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix in _TYPES and path.is_file():
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.name] = PageFile(content, _TYPES[path.suffix], etag)
    return found


def send_cached(request: Request, content: bytes, media_type: str, etag: str) -> Response:
    """Return a file; only its name where the browser has it already."""
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    asked = request.headers.get("if-none-match", "")
    known = {tag.strip().removeprefix("W/") for tag in asked.split(",")}
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
