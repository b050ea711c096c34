"""Static files of the drawing page, from ``page/``."""

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
    """One static file.

    Attributes
    ----------
    content : bytes
        The file's bytes.
    media_type : str
        Value of ``Content-Type``.
    etag : str
        Quoted hash of the content.
    """

    content: bytes
    media_type: str
    etag: str


def load_page_files(folder: Path = PAGE_DIR) -> dict[str, PageFile]:
    """Read the files of a folder into memory; only these are ever sent.

    Parameters
    ----------
    folder : Path
        Only its files with a known suffix are read, not its subfolders. May be missing.

    Returns
    -------
    dict
        ``PageFile`` by file name.
    """
    files = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix in _CONTENT_TYPES and path.is_file():
            data = path.read_bytes()
            etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
            files[path.name] = PageFile(data, _CONTENT_TYPES[path.suffix], etag)
    return files


def respond_with_etag(request: Request, content: bytes, media_type: str, etag: str) -> Response:
    """Return a response with an ETag: 304 without content if ``If-None-Match`` has it, else 200.

    Parameters
    ----------
    request : Request
        The browser's request.
    content : bytes
        Body of the response.
    media_type : str
        Value of ``Content-Type``.
    etag : str
        Quoted ETag of the content.
    """
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if_none_match = request.headers.get("if-none-match", "")
    client_etags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    if etag in client_etags or "*" in client_etags:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
