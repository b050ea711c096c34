"""Has a data set's source changed since it was acquired? Little is read to know."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

from config.dataset import DatasetConfig, FigshareSource, HttpSource, LocalSource, RemoteSource
from config.errors import SourceError
from config.settings import get_settings
from sources.archives import open_path
from sources.fetch import figshare
from sources.fetch.http import (
    RequestTarget,
    HttpLimits,
    PermanentError,
    TransientError,
    open_client,
    redact_url,
    request,
)
from sources.fetch.http_responses import check_response
from sources.fetch.remote import resolve_remote
from storage import ObjectStore, keys
from storage.raw_sets import Origin, read_origin


@dataclass(frozen=True)
class UpdateStatus:
    """What is known of a source.

    Attributes
    ----------
    state : ``same`` as acquired; ``new``, to be acquired; ``ask``: there is something newer, which
        the catalogue does not name, or which a person has to choose from; ``unknown``: the host
        does not tell, or does not answer.
    what : why, for a person.
    """

    state: Literal["same", "new", "ask", "unknown"]
    message: str


def check_for_update(dataset: DatasetConfig, store: ObjectStore) -> UpdateStatus | None:
    """Compare a source with what was acquired from it; None where nothing was.

    Of an archive on the web its ETag, date and size are compared, of Kaggle and figshare the
    version, of a folder or archive on this machine the digest. An archive whose SHA-256 the
    catalogue names cannot change.

    Raises
    ------
    SourceError
        If a folder or archive of this machine is missing.
    """
    origin = read_origin(store, keys.latest_origin(dataset.name))
    if origin is None:
        return None
    source = dataset.source
    if origin.source != dataset.origin:
        return UpdateStatus("new", "the catalogue names another source")
    if isinstance(source, LocalSource):
        identity = open_path(Path(source.path)).identity(lambda _: None)
        same = identity == origin.identity
        return (
            UpdateStatus("same", "its files")
            if same
            else UpdateStatus("new", "its files have changed")
        )
    if source.sha256 is not None:
        return UpdateStatus("same", "its SHA-256 is in the catalogue")
    try:
        return _check_host(source, origin)
    except SourceError as error:
        return UpdateStatus("unknown", str(error))
    except (TransientError, PermanentError) as failure:
        return UpdateStatus("unknown", f"{failure.location} {failure.message}".strip())


def _check_host(source: RemoteSource, origin: Origin) -> UpdateStatus:
    if isinstance(source, HttpSource):
        return _compare_responses(source, origin)
    if isinstance(source, FigshareSource):
        newest = figshare.fetch_latest_version(source)
        if newest > source.version:
            return UpdateStatus(
                "ask", f"version {newest} is out, the catalogue names {source.version}"
            )
        return UpdateStatus("same", f"version {source.version}")
    if source.version is not None:
        return UpdateStatus("same", f"version {source.version} is in the catalogue")
    _, stated = resolve_remote(source, "The next check asks again.")
    known, now = origin.host_metadata.get("version"), stated["version"]
    if known is None:
        return UpdateStatus("unknown", f"version {now}, and nobody noted which was acquired")
    if known == now:
        return UpdateStatus("same", f"version {now}")
    return UpdateStatus("new", f"version {now} after {known}")


def _compare_responses(source: HttpSource, origin: Origin) -> UpdateStatus:
    """Ask for the archive and read no more than the answer's head."""
    limits = HttpLimits()
    with (
        open_client(limits) as client,
        request(
            client,
            RequestTarget(source.urls[0]),
            {},
            limits,
            allow_http=get_settings().allow_http,
            http_allowed_hosts=frozenset(),
        ) as answer,
    ):
        check_response(answer, ranged=False)
        return _compare(answer, origin)


def _compare(response: httpx.Response, origin: Origin) -> UpdateStatus:
    headers = response.headers
    length = headers.get("Content-Length", "")
    now: dict[str, str | int | None] = {"size": int(length) if length.isdigit() else None}
    before: dict[str, str | int | None] = {"size": origin.size}
    # What one mirror says means nothing to another.
    if redact_url(response.url) == origin.read_from:
        for name in ("ETag", "Last-Modified"):
            now[name], before[name] = headers.get(name), origin.host_metadata.get(name)
    told = [name for name in now if None not in (now[name], before[name])]
    changed = [name for name in told if now[name] != before[name]]
    if changed:
        name = changed[-1]
        return UpdateStatus("new", f"{name} is {now[name]}, was {before[name]}")
    if told in ([], ["size"]):
        return UpdateStatus("unknown", "the host gives neither ETag nor date to compare")
    return UpdateStatus("same", f"{told[-1]} {now[told[-1]]}")
