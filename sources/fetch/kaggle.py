"""Data sets on Kaggle: metadata from its API, and the signed URL of the archive.

Kaggle's own library finds the credentials. The two API calls are made here, because the library
has no timeout and follows the redirect into the archive's bytes.
"""

import base64
import os
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel, Field, ValidationError

from config.dataset import KaggleSource
from config.errors import InputError, SourceError
from sources.fetch.download import RemoteFile, RequestTarget
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
    """Request headers for authentication and where they were found; empty and None if anonymous."""

    headers: dict[str, str]
    origin: str | None


def find_archive(source: KaggleSource, advice: str) -> tuple[RemoteFile, dict[str, str | int]]:
    """Request the metadata of a Kaggle data set.

    Parameters
    ----------
    source : KaggleSource
        Data set, and its version; None for the latest version.
    advice : str
        Sentence on how else to get the archive, appended to errors.

    Returns
    -------
    remote : RemoteFile
        The archive.
    host_metadata : dict of str to str or int
        Title, license, version, size and date, as far as Kaggle states them.

    Raises
    ------
    SourceError
        If Kaggle refuses access, has no such data set or cannot be reached.
    """
    credentials = _load_credentials()
    owner, slug = source.handle.split("/")
    dataset_body = {"ownerSlug": owner, "datasetSlug": slug}
    response = _call_api("GetDataset", dataset_body, credentials, source, advice)
    try:
        metadata = _KaggleDataset.model_validate(read_json_object(response))
    except ValidationError:
        raise SourceError(
            f"Kaggle's response for {source.handle} has an unexpected format. {advice}"
        ) from None
    version = source.version or metadata.version
    if version is None:
        raise SourceError(f"Kaggle names no version of {source.handle}. {advice}")

    def request_signed_url() -> RequestTarget:
        body = {**dataset_body, "datasetVersionNumber": str(version)}
        response = _call_api("DownloadDataset", body, credentials, source, advice)
        location = response.headers.get("Location")
        if not response.is_redirect or not location:
            raise SourceError(
                f"Kaggle answered HTTP {response.status_code} instead of a redirect to the "
                f"archive of {source.handle}. {advice}"
            )
        return RequestTarget(str(response.request.url.join(location)))

    remote = RemoteFile(
        f"{owner}-{slug}-{version}.zip",
        (request_signed_url,),
        size=source.size,
        sha256=source.sha256,
        advice=advice,
    )
    return remote, metadata.model_dump(exclude_none=True, by_alias=True) | {"version": version}


def describe_credentials() -> str | None:
    """Return where Kaggle's credentials were found.

    Returns
    -------
    str or None
        Variable or file; None if there are no credentials.

    Raises
    ------
    SourceError
        If the credentials are incomplete or cannot be read.
    """
    return _load_credentials().origin


def _call_api(
    name: str, body: dict[str, Any], credentials: _Credentials, source: KaggleSource, advice: str
) -> httpx.Response:
    # A slow import that other sources do not need.
    from kagglesdk.kaggle_env import KaggleEnv, get_endpoint, get_env

    try:
        environment = get_env()
    # The library raises a bare Exception for an unknown name.
    except Exception as error:
        raise InputError(f"{error}. Unset it to use Kaggle itself.") from None
    base = get_endpoint(environment)
    if environment != KaggleEnv.PROD:
        base += "/api"
    url = f"{base}/v1/datasets.DatasetApiService/{name}"
    response = call_api("POST", url, advice, credentials.headers, body)
    status = response.status_code
    if "json" in response.headers.get("Content-Type", ""):
        # A response of status 200 can hold an error code.
        code = read_json_object(response).get("code")
        status = max(status, code if isinstance(code, int) else 0)
    if status >= 400:
        raise SourceError(_status_error(status, credentials, source, advice))
    return response


def _status_error(status: int, credentials: _Credentials, source: KaggleSource, advice: str) -> str:
    token = (
        "create a token at https://www.kaggle.com/settings/api and set KAGGLE_API_TOKEN to it "
        "(or save it as ~/.kaggle/access_token)"
    )
    match status:
        case 401 if credentials.origin:
            return (
                f"Kaggle does not accept the credentials in {credentials.origin} (401): they are "
                f"mistyped or expired. To replace them, {token}; many data sets need none. {advice}"
            )
        case 401 | 403 if not credentials.origin:
            return (
                f"Kaggle refuses {source.handle} without a login ({status}). Sign in, accept the "
                f"data set's terms on its page if it asks, {token}. {advice}"
            )
        case 403:
            return (
                f"Kaggle refuses {source.handle} ({status}) to the account of "
                f"{credentials.origin}. Accept its terms on its page, signed in as that account. "
                f"{advice}"
            )
        case 404:
            return (
                f"Kaggle has no {source.handle} (404): it was moved, deleted or made private. "
                f"{advice}"
            )
    return f"Kaggle answered HTTP {status} for {source.handle}. Try again later. {advice}"


def _load_credentials() -> _Credentials:
    from kagglehub.config import get_kaggle_credentials
    from kagglesdk.kaggle_env import get_access_token_from_env

    try:
        loaded = get_kaggle_credentials()
    except (OSError, ValueError) as error:
        raise SourceError(
            f"Kaggle's credentials cannot be read: {error}. Correct that file."
        ) from None
    if loaded is None:
        for name, other in (_CREDENTIAL_VARIABLES, _CREDENTIAL_VARIABLES[::-1]):
            if os.environ.get(name):
                raise SourceError(f"{name} is set, but {other} is not. Kaggle needs both.")
        return _Credentials({}, None)
    values = [v for v in (loaded.api_key, loaded.username, loaded.key) if v is not None]
    if not all(isinstance(v, str) and v.isascii() and v.isprintable() for v in values):
        raise SourceError(
            "Kaggle's credentials contain invalid characters: they are mistyped. Copy them "
            "again from https://www.kaggle.com/settings/api."
        )
    if loaded.api_key:
        _, origin = get_access_token_from_env()
        origin = "~/.kaggle/access_token" if origin == "access_token" else str(origin)
        return _Credentials({"Authorization": f"Bearer {loaded.api_key.strip()}"}, origin)
    basic = base64.b64encode(f"{loaded.username}:{loaded.key}".encode()).decode()
    from_env = all(os.environ.get(name) for name in _CREDENTIAL_VARIABLES)
    origin = " and ".join(_CREDENTIAL_VARIABLES) if from_env else "kaggle.json"
    return _Credentials({"Authorization": f"Basic {basic}"}, origin)
