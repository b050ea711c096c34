"""Data sets on Kaggle: what the API says of one, and the signed address of its archive.

Credentials are found by Kaggle's own library. The two calls are made here: the library's client
waits for ever for a host that says nothing, and follows the redirect into the archive's bytes.
"""

import base64
import os
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel, Field, ValidationError

from config.dataset import KaggleSource
from config.errors import InputError, SourceError
from sources.fetch.download import RequestTarget, RemoteFile
from sources.fetch.host_api import call_api, read_json_object

_CREDENTIAL_VARIABLES = ("KAGGLE_USERNAME", "KAGGLE_KEY")


class _KaggleDataset(BaseModel):
    title: str | None = None
    license: str | None = Field(None, validation_alias="licenseName", serialization_alias="licence")
    version: int | None = Field(None, validation_alias="currentVersionNumber")
    size: int | None = Field(None, validation_alias="totalBytes")
    updated: str | None = Field(None, validation_alias="lastUpdated")


@dataclass(frozen=True)
class _Credentials:
    """How to say who is asking, and where that was found; nothing to say when anonymous."""

    headers: dict[str, str]
    origin: str | None


def find_archive(source: KaggleSource, advice: str) -> tuple[RemoteFile, dict[str, str | int]]:
    """Ask Kaggle for a data set.

    Parameters
    ----------
    source : which one; its newest version where it names none.
    advice : what to do where Kaggle refuses.

    Returns
    -------
    (Remote, dict)
        Its archive, and what Kaggle states of the data set.

    Raises
    ------
    SourceError
        If Kaggle refuses, has no such data set or cannot be reached.
    """
    login = _load_credentials()
    owner, slug = source.handle.split("/")
    which = {"ownerSlug": owner, "datasetSlug": slug}
    answer = _call_api("GetDataset", which, login, source, advice)
    try:
        found = _KaggleDataset.model_validate(read_json_object(answer))
    except ValidationError:
        raise SourceError(
            f"Kaggle's answer on {source.handle} is not understood. {advice}"
        ) from None
    version = source.version or found.version
    if version is None:
        raise SourceError(f"Kaggle names no version of {source.handle}. {advice}")

    def locate() -> RequestTarget:
        asked = {**which, "datasetVersionNumber": str(version)}
        answer = _call_api("DownloadDataset", asked, login, source, advice)
        place = answer.headers.get("Location")
        if not answer.is_redirect or not place:
            raise SourceError(
                f"Kaggle answered HTTP {answer.status_code} where the address of "
                f"{source.handle} was due. {advice}"
            )
        return RequestTarget(str(answer.request.url.join(place)))

    remote = RemoteFile(
        f"{owner}-{slug}-{version}.zip",
        (locate,),
        size=source.size,
        sha256=source.sha256,
        advice=advice,
    )
    return remote, found.model_dump(exclude_none=True, by_alias=True) | {"version": version}


def describe_credentials() -> str | None:
    """Return where Kaggle's credentials were found; None where there are none.

    Raises
    ------
    SourceError
        If there is a file of them that cannot be read.
    """
    return _load_credentials().origin


def _call_api(
    name: str, body: dict[str, Any], login: _Credentials, source: KaggleSource, advice: str
) -> httpx.Response:
    # Heavy, and of no use to other sources.
    from kagglesdk.kaggle_env import KaggleEnv, get_endpoint, get_env

    try:
        environment = get_env()
    # A bare one for a name that it does not know.
    except Exception as error:
        raise InputError(f"{error}. Unset it to use Kaggle itself.") from None
    base = get_endpoint(environment)
    if environment != KaggleEnv.PROD:
        base += "/api"
    url = f"{base}/v1/datasets.DatasetApiService/{name}"
    answer = call_api("POST", url, advice, login.headers, body)
    status = answer.status_code
    if "json" in answer.headers.get("Content-Type", ""):
        # An error can also come as a code in an answer of status 200.
        code = read_json_object(answer).get("code")
        status = max(status, code if isinstance(code, int) else 0)
    if status >= 400:
        raise SourceError(_status_error(status, login, source, advice))
    return answer


def _status_error(status: int, login: _Credentials, source: KaggleSource, advice: str) -> str:
    token = (
        "create a token at https://www.kaggle.com/settings/api and set KAGGLE_API_TOKEN to it "
        "(or save it as ~/.kaggle/access_token)"
    )
    match status:
        case 401 if login.origin:
            return (
                f"Kaggle does not accept the credentials in {login.origin} (401): they are "
                f"mistyped or expired. To mend it, {token}; many sets need none. {advice}"
            )
        case 401 | 403 if not login.origin:
            return (
                f"Kaggle refuses {source.handle} without a login ({status}). Sign in, accept the "
                f"data set's terms on its page if it asks, {token}. {advice}"
            )
        case 403:
            return (
                f"Kaggle refuses {source.handle} ({status}) to the account of {login.origin}. "
                f"Accept its terms on its page, signed in as that account. {advice}"
            )
        case 404:
            return f"Kaggle has no {source.handle} (404): it is moved, deleted or private. {advice}"
    return f"Kaggle answered HTTP {status} for {source.handle}. Try again later. {advice}"


def _load_credentials() -> _Credentials:
    from kagglehub.config import get_kaggle_credentials
    from kagglesdk.kaggle_env import get_access_token_from_env

    try:
        found = get_kaggle_credentials()
    except (OSError, ValueError) as error:
        raise SourceError(
            f"Kaggle's credentials cannot be read: {error}. Mend that file."
        ) from None
    if found is None:
        for name, other in (_CREDENTIAL_VARIABLES, _CREDENTIAL_VARIABLES[::-1]):
            if os.environ.get(name):
                raise SourceError(f"{name} is set, but {other} is not. Kaggle needs both.")
        return _Credentials({}, None)
    words = [word for word in (found.api_key, found.username, found.key) if word is not None]
    if not all(isinstance(word, str) and word.isascii() and word.isprintable() for word in words):
        raise SourceError(
            "Kaggle's credentials hold what none can have: they are mistyped. Copy them "
            "again from https://www.kaggle.com/settings/api."
        )
    if found.api_key:
        _, place = get_access_token_from_env()
        place = "~/.kaggle/access_token" if place == "access_token" else str(place)
        return _Credentials({"Authorization": f"Bearer {found.api_key.strip()}"}, place)
    basic = base64.b64encode(f"{found.username}:{found.key}".encode()).decode()
    variables = all(os.environ.get(name) for name in _CREDENTIAL_VARIABLES)
    place = " and ".join(_CREDENTIAL_VARIABLES) if variables else "kaggle.json"
    return _Credentials({"Authorization": f"Basic {basic}"}, place)
