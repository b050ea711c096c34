"""Has a data set's source changed since it was acquired? Little is read to know."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

from config.dataset import DataSet, FigshareSource, HttpSource, LocalSource, RemoteSource
from config.errors import SourceError
from config.settings import get_settings
from sources.archives import open_path
from sources.fetch import figshare
from sources.fetch.http import Address, Broken, Limits, Refused, ask, open_client, shown
from sources.fetch.http_responses import check
from sources.fetch.remote import find_remote
from storage import ObjectStore, keys
from storage.raw_sets import Origin, read_origin


@dataclass(frozen=True)
class Finding:
    """What is known of a source.

    Attributes
    ----------
    state : ``same`` as acquired; ``new``, to be acquired; ``ask``: there is something newer, which
        the catalogue does not name, or which a person has to choose from; ``unknown``: the host
        does not tell, or does not answer.
    what : why, for a person.
    """

    state: Literal["same", "new", "ask", "unknown"]
    what: str


def look_for_newer(dataset: DataSet, store: ObjectStore) -> Finding | None:
    """Compare a source with what was acquired from it; None where nothing was.

    Of an archive on the web its ETag, date and size are compared, of Kaggle and figshare the
    version, of a folder or archive on this machine the digest. An archive whose SHA-256 the
    catalogue names cannot change.

    Raises
    ------
    SourceError
        If a folder or archive of this machine is missing.
    """
    origin = read_origin(store, keys.newest_origin(dataset.name))
    if origin is None:
        return None
    source = dataset.source
    if origin.source != dataset.origin:
        return Finding("new", "the catalogue names another source")
    if isinstance(source, LocalSource):
        identity = open_path(Path(source.path)).identity(lambda _: None)
        same = identity == origin.identity
        return Finding("same", "its files") if same else Finding("new", "its files have changed")
    if source.sha256 is not None:
        return Finding("same", "its SHA-256 is in the catalogue")
    try:
        return _ask_host(source, origin)
    except SourceError as error:
        return Finding("unknown", str(error))
    except (Broken, Refused) as failure:
        return Finding("unknown", f"{failure.where} {failure.told}".strip())


def _ask_host(source: RemoteSource, origin: Origin) -> Finding:
    if isinstance(source, HttpSource):
        return _compare_answers(source, origin)
    if isinstance(source, FigshareSource):
        newest = figshare.newest_version(source)
        if newest > source.version:
            return Finding("ask", f"version {newest} is out, the catalogue names {source.version}")
        return Finding("same", f"version {source.version}")
    if source.version is not None:
        return Finding("same", f"version {source.version} is in the catalogue")
    _, stated = find_remote(source, "The next check asks again.")
    known, now = origin.stated.get("version"), stated["version"]
    if known is None:
        return Finding("unknown", f"version {now}, and nobody noted which was acquired")
    if known == now:
        return Finding("same", f"version {now}")
    return Finding("new", f"version {now} after {known}")


def _compare_answers(source: HttpSource, origin: Origin) -> Finding:
    """Ask for the archive and read no more than the answer's head."""
    limits = Limits()
    with (
        open_client(limits) as client,
        ask(
            client,
            Address(source.urls[0]),
            {},
            limits,
            allow_http=get_settings().allow_http,
            plain=frozenset(),
        ) as answer,
    ):
        check(answer, ranged=False)
        return _compare(answer, origin)


def _compare(answer: httpx.Response, origin: Origin) -> Finding:
    headers = answer.headers
    length = headers.get("Content-Length", "")
    now: dict[str, str | int | None] = {"size": int(length) if length.isdigit() else None}
    before: dict[str, str | int | None] = {"size": origin.size}
    # What one mirror says means nothing to another.
    if shown(answer.url) == origin.read_from:
        for name in ("ETag", "Last-Modified"):
            now[name], before[name] = headers.get(name), origin.stated.get(name)
    told = [name for name in now if None not in (now[name], before[name])]
    changed = [name for name in told if now[name] != before[name]]
    if changed:
        name = changed[-1]
        return Finding("new", f"{name} is {now[name]}, was {before[name]}")
    if told in ([], ["size"]):
        return Finding("unknown", "the host gives neither ETag nor date to compare")
    return Finding("same", f"{told[-1]} {now[told[-1]]}")
