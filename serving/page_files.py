"""The drawing page's files, as they lie in ``page/``."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

PAGE_DIR = Path(__file__).parent / "page"

_CONTENT_TYPES = {
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


def load_page_files(folder: Path = PAGE_DIR) -> dict[str, PageFile]:
    """Return the files by name; nothing else is ever sent of the folder."""
    files = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix in _CONTENT_TYPES and path.is_file():
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            files[path.name] = PageFile(content, _CONTENT_TYPES[path.suffix], etag)
    return files


def respond_with_etag(request: Request, content: bytes, media_type: str, etag: str) -> Response:
    """Return a file; only its name where the browser has it already."""
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if_none_match = request.headers.get("if-none-match", "")
    client_etags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    if etag in client_etags or "*" in client_etags:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
