"""Check whether a data set's source has changed since it was acquired."""

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
    HttpLimits,
    PermanentError,
    RequestTarget,
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
    """Result of a check for an update.

    Attributes
    ----------
    state : {"same", "new", "ask", "unknown"}
        ``same``: unchanged. ``new``: changed and can be acquired. ``ask``: a newer version exists
        that the catalogue does not name, so a person has to decide. ``unknown``: the host gives no
        information or does not respond.
    message : str
        Reason, for display.
    """

    state: Literal["same", "new", "ask", "unknown"]
    message: str


def check_for_update(dataset: DatasetConfig, store: ObjectStore) -> UpdateStatus | None:
    """Compare a source with the files that were acquired from it.

    For an archive on the web the ETag, date and size are compared, for Kaggle and figshare the
    version, and for a folder or archive on this machine the digest. An archive whose SHA-256 is in
    the catalogue cannot change.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set.
    store : ObjectStore
        Store with the latest origin.

    Returns
    -------
    UpdateStatus or None
        None if the data set was never acquired.

    Raises
    ------
    SourceError
        If a folder or archive on this machine is missing.
    """
    origin = read_origin(store, keys.latest_origin(dataset.name))
    if origin is None:
        return None
    source = dataset.source
    if origin.source != dataset.origin:
        return UpdateStatus("new", "the catalogue names another source")
    if isinstance(source, LocalSource):
        identity = open_path(Path(source.path)).identity(lambda _: None)
        is_same = identity == origin.identity
        return (
            UpdateStatus("same", "its files are unchanged")
            if is_same
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
        return _compare_with_response(source, origin)
    if isinstance(source, FigshareSource):
        latest = figshare.fetch_latest_version(source)
        if latest > source.version:
            return UpdateStatus(
                "ask", f"version {latest} is available, the catalogue names {source.version}"
            )
        return UpdateStatus("same", f"version {source.version}")
    if source.version is not None:
        return UpdateStatus("same", f"version {source.version} is in the catalogue")
    _, host_metadata = resolve_remote(source, "The next check tries again.")
    acquired, current = origin.host_metadata.get("version"), host_metadata["version"]
    if acquired is None:
        return UpdateStatus("unknown", f"version {current}; the acquired version is not recorded")
    if acquired == current:
        return UpdateStatus("same", f"version {current}")
    return UpdateStatus("new", f"version {current} after {acquired}")


def _compare_with_response(source: HttpSource, origin: Origin) -> UpdateStatus:
    """Request the archive, and read only the headers of the response."""
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
        ) as response,
    ):
        check_response(response, ranged=False)
        return _compare_headers(response, origin)


def _compare_headers(response: httpx.Response, origin: Origin) -> UpdateStatus:
    headers = response.headers
    length = headers.get("Content-Length", "")
    current: dict[str, str | int | None] = {"size": int(length) if length.isdigit() else None}
    acquired: dict[str, str | int | None] = {"size": origin.size}
    # Validators of another mirror cannot be compared.
    if redact_url(response.url) == origin.read_from:
        for name in ("ETag", "Last-Modified"):
            current[name], acquired[name] = headers.get(name), origin.host_metadata.get(name)
    comparable = [name for name in current if None not in (current[name], acquired[name])]
    changed = [name for name in comparable if current[name] != acquired[name]]
    if changed:
        name = changed[-1]
        return UpdateStatus("new", f"{name} is {current[name]}, was {acquired[name]}")
    if comparable in ([], ["size"]):
        return UpdateStatus("unknown", "the host sends neither ETag nor date to compare")
    return UpdateStatus("same", f"{comparable[-1]} {current[comparable[-1]]}")
