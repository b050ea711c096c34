"""Files on figshare, found through its API.

The addresses that a browser uses answer programs with an empty challenge; the API's do not.
"""

from pathlib import PurePosixPath

from pydantic import BaseModel, ValidationError

from config.dataset import FigshareSource
from config.errors import SourceError
from sources.fetch.download import RequestTarget, RemoteFile
from sources.fetch.host_api import call_api, read_json_object

_API_URL = "https://api.figshare.com/v2"


class _File(BaseModel):
    id: int
    name: str
    size: int | None = None
    computed_md5: str | None = None
    supplied_md5: str | None = None


class _License(BaseModel):
    name: str | None = None


class _Article(BaseModel):
    title: str | None = None
    version: int | None = None
    license: _License | None = None
    files: list[_File] = []


def find_archive(source: FigshareSource, advice: str) -> tuple[RemoteFile, dict[str, str | int]]:
    """Ask figshare for a file of an article.

    Parameters
    ----------
    source : which one.
    advice : what to do where figshare refuses.

    Returns
    -------
    (Remote, dict)
        The file with the size and MD5 that figshare gives, and what it states of the article.

    Raises
    ------
    SourceError
        If there is no such article or file, or figshare cannot be reached.
    """
    answer = call_api(
        "GET", f"{_API_URL}/articles/{source.article}/versions/{source.version}", advice
    )
    if "x-amzn-waf-action" in answer.headers:
        raise SourceError(
            f"{source.title}: figshare answered HTTP {answer.status_code} with a bot challenge and "
            f"no data. Run again later. {advice}"
        )
    if answer.status_code != 200:
        raise SourceError(f"{source.title}: figshare answered HTTP {answer.status_code}. {advice}")
    try:
        article = _Article.model_validate(read_json_object(answer))
    except ValidationError:
        raise SourceError(
            f"{source.title}: figshare's answer is not understood. {advice}"
        ) from None
    file = next((file for file in article.files if source.file in (file.id, file.name)), None)
    if file is None:
        names = ", ".join(file.name for file in article.files) or "no file"
        raise SourceError(f"{source.title} has no file {source.file}; it has {names}. {advice}")
    remote = RemoteFile(
        f"figshare-{file.id}{PurePosixPath(file.name).suffix}",
        (
            lambda: RequestTarget(f"{_API_URL}/file/download/{file.id}"),
            lambda: RequestTarget(f"https://ndownloader.figshare.com/files/{file.id}"),
        ),
        size=source.size or file.size,
        sha256=source.sha256,
        md5=file.computed_md5 or file.supplied_md5 or None,
        advice=advice,
    )
    stated = {
        "title": article.title,
        "licence": article.license.name if article.license else None,
        "version": article.version,
        "file": file.name,
        "size": file.size,
    }
    return remote, {name: value for name, value in stated.items() if value is not None}


def fetch_latest_version(source: FigshareSource) -> int:
    """Return the newest version of a source's article.

    Raises
    ------
    SourceError
        If figshare cannot be reached, or does not tell.
    """
    answer = call_api("GET", f"{_API_URL}/articles/{source.article}", "The next check asks again.")
    try:
        found = _Article.model_validate(read_json_object(answer)).version
    except ValidationError:
        found = None
    if answer.status_code != 200 or found is None:
        raise SourceError(f"figshare tells no version of article {source.article}.")
    return found
