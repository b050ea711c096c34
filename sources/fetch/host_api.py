"""Requests to the APIs of hosts: short responses, with retries while the host is busy."""

import random
import time
from collections.abc import Mapping
from typing import Any

import httpx

from config.errors import SourceError
from sources.fetch.http import (
    HttpLimits,
    PermanentError,
    TransientError,
    open_client,
    to_download_error,
)
from sources.fetch.http_responses import find_busy_error

_MAX_ATTEMPTS = 4
_API_LIMITS = HttpLimits()


class HostUnavailable(SourceError):
    """A host that cannot be reached or stays busy.

    Attributes
    ----------
    retry_after : float, seconds
        Wait that the host asks for; 0 if it asks for none.
    """

    def __init__(self, message: str, retry_after: float = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def call_api(
    method: str,
    url: str,
    advice: str,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, object] | None = None,
) -> httpx.Response:
    """Send a request to an API. Redirects are not followed.

    Parameters
    ----------
    method : str
        HTTP method.
    url : str
        URL.
    advice : str
        Sentence on what else to do, appended to errors.
    headers : mapping of str to str, or None
        Request headers.
    body : mapping or None
        Body of the request, sent as JSON.

    Returns
    -------
    httpx.Response
        Response of any status except a transient one.

    Raises
    ------
    HostUnavailable
        If the host cannot be reached or stays busy.
    SourceError
        If its certificate is not trusted.
    InputError
        If the network settings of the environment are invalid.
    """
    host = httpx.URL(url).host
    attempt, waited = 0, 0.0
    while True:
        failure: TransientError | PermanentError | None
        try:
            with open_client(_API_LIMITS) as client:
                response = client.request(method, url, headers=headers, json=body)
        except httpx.TransportError as error:
            failure = to_download_error(error, response_started=False)
        else:
            failure = find_busy_error(response)
            if failure is None:
                return response
        message = f"{host} {failure.message}. {advice}"
        if isinstance(failure, PermanentError):
            raise SourceError(message)
        attempt += 1
        waited += failure.retry_after
        if attempt == _MAX_ATTEMPTS or waited > _API_LIMITS.max_retry_after:
            raise HostUnavailable(message, failure.retry_after)
        pause = _API_LIMITS.backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1)
        time.sleep(max(pause, failure.retry_after))


def read_json_object(response: httpx.Response) -> dict[str, Any]:
    """Parse the JSON object in a response.

    Parameters
    ----------
    response : httpx.Response
        Response.

    Returns
    -------
    dict
        The object.

    Raises
    ------
    SourceError
        If the body is not a JSON object, but an error page, for example.
    """
    host = response.request.url.host
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        content_type = response.headers.get("Content-Type", "no content type")
        raise SourceError(
            f"{host} answered HTTP {response.status_code} with {content_type}, not with JSON. "
            "Run the same command again later."
        )
    return content
