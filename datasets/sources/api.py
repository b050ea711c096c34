"""Questions to a host's API: short answers, asked again where the host is busy."""

import random
import time
from collections.abc import Mapping
from typing import Any

import httpx

from datasets.sources.exchange import Limits, open_client, reason_of
from errors import SourceError

_BUSY = {408, 425, 429, 500, 502, 503, 504}
_ATTEMPTS = 4
# Seconds before asking again, doubled each time. Who is to wait longer is told so.
_WAIT, _LONGEST_WAIT = 1.0, 60.0


def ask(
    method: str,
    url: str,
    advice: str,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, object] | None = None,
) -> httpx.Response:
    """Return a host's answer, whatever its status; a redirect is not followed.

    Raises
    ------
    SourceError
        If the host cannot be reached, or stays busy; ends with the advice.
    InputError
        If the environment's network settings make no sense.
    """
    host = httpx.URL(url).host
    for attempt in range(1, _ATTEMPTS + 1):
        wait = _WAIT * 2 ** (attempt - 1) * random.uniform(0.5, 1)
        try:
            with open_client(Limits()) as client:
                answer = client.request(method, url, headers=headers, json=body)
        except httpx.TransportError as error:
            fault = f"{host} cannot be reached ({reason_of(error)}). Check the network."
        else:
            if answer.status_code not in _BUSY:
                return answer
            fault = f"{host} is busy (HTTP {answer.status_code}). Run again later."
            asked = answer.headers.get("Retry-After", "")
            if asked.isdigit():
                wait = float(asked)
                fault = f"{host} is busy and asks to wait {asked} s. Run again then."
        if attempt == _ATTEMPTS or wait > _LONGEST_WAIT:
            raise SourceError(f"{fault} {advice}")
        time.sleep(wait)
    raise AssertionError("every attempt returns, raises or goes round")


def read_object(answer: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises
    ------
    SourceError
        If it holds none: an error page, for example.
    """
    host = answer.request.url.host
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        kind = answer.headers.get("Content-Type", "no content type")
        raise SourceError(
            f"{host} answered HTTP {answer.status_code} with {kind}, not with JSON. "
            "Run the same command again later."
        )
    return found
