"""Files on figshare, located through its API.

The URLs of figshare's website answer programs with an empty bot challenge; the API's do not.
"""

from pathlib import PurePosixPath

from pydantic import BaseModel, ValidationError

from config.dataset import FigshareSource
from config.errors import SourceError
from sources.fetch.download import RemoteFile, RequestTarget
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
    """Request the metadata of a figshare file.

    Parameters
    ----------
    source : FigshareSource
        Article and file.
    advice : str
        Sentence on how else to get the file, appended to errors.

    Returns
    -------
    remote : RemoteFile
        The file, with the size and MD5 that figshare states.
    host_metadata : dict of str to str or int
        Title, license, version, file name and size, as far as figshare states them.

    Raises
    ------
    SourceError
        If the article or file does not exist, or figshare cannot be reached.
    """
    response = call_api(
        "GET", f"{_API_URL}/articles/{source.article}/versions/{source.version}", advice
    )
    status = response.status_code
    if "x-amzn-waf-action" in response.headers:
        raise SourceError(
            f"{source.title}: figshare answered HTTP {status} with a bot challenge and no data. "
            f"Run again later. {advice}"
        )
    if status != 200:
        raise SourceError(f"{source.title}: figshare answered HTTP {status}. {advice}")
    try:
        article = _Article.model_validate(read_json_object(response))
    except ValidationError:
        raise SourceError(
            f"{source.title}: figshare's response has an unexpected format. {advice}"
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
    # The keys are stored with the raw set.
    host_metadata = {
        "title": article.title,
        "licence": article.license.name if article.license else None,
        "version": article.version,
        "file": file.name,
        "size": file.size,
    }
    return remote, {name: value for name, value in host_metadata.items() if value is not None}


def fetch_latest_version(source: FigshareSource) -> int:
    """Request the latest version number of an article.

    Parameters
    ----------
    source : FigshareSource
        The article.

    Returns
    -------
    int
        Version number.

    Raises
    ------
    SourceError
        If figshare cannot be reached or states no version.
    """
    response = call_api(
        "GET", f"{_API_URL}/articles/{source.article}", "The next check tries again."
    )
    try:
        version = _Article.model_validate(read_json_object(response)).version
    except ValidationError:
        version = None
    if response.status_code != 200 or version is None:
        raise SourceError(f"figshare states no version of article {source.article}.")
    return version
