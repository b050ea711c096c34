"""Questions to a host's API: short answers, asked again where the host is busy."""

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
    """A host that cannot be reached or stays busy; ``wait`` is what it asks for, in seconds."""

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
    """Return a host's answer, whatever its status; a redirect is not followed.

    Raises
    ------
    Unavailable
        If the host cannot be reached, or stays busy; ends with the advice.
    SourceError
        If its certificate is not trusted.
    InputError
        If the environment's network settings make no sense.
    """
    host = httpx.URL(url).host
    attempt, waited = 0, 0.0
    while True:
        failure: TransientError | PermanentError | None
        try:
            with open_client(_API_LIMITS) as client:
                answer = client.request(method, url, headers=headers, json=body)
        except httpx.TransportError as error:
            failure = to_download_error(error, response_started=False)
        else:
            failure = find_busy_error(answer)
            if failure is None:
                return answer
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
    """Return the JSON object of an answer.

    Raises
    ------
    SourceError
        If it holds none: an error page, for example.
    """
    host = response.request.url.host
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        kind = response.headers.get("Content-Type", "no content type")
        raise SourceError(
            f"{host} answered HTTP {response.status_code} with {kind}, not with JSON. "
            "Run the same command again later."
        )
    return found
