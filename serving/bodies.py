"""Bodies of requests: how much, for how long, how many at once."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from starlette.requests import ClientDisconnect, Request

from serving.decode import CONTENT_TYPES
from serving.errors import Refusal
from serving.rate_limit import client_of

# What a refused client may still send, so that it reads the answer: one that finds the line closed
# while it sends may never look. Bytes, and seconds.
_MOST_DRAINED, _DRAIN_SECONDS = 8 << 20, 2


class Bodies:
    """Reads bodies, and refuses them before they are here where that can be told.

    Parameters
    ----------
    most : bytes of one.
    seconds : that one may take.
    at_once : that arrive at the same time.
    each : of these, from one client.
    """

    def __init__(self, most: int, seconds: float, at_once: int, each: int) -> None:
        self._most, self._seconds, self._at_once, self._each = most, seconds, at_once, each
        # By client.
        self._arriving: Counter[str] = Counter()

    async def read(self, request: Request) -> bytes:
        """Return a request's body.

        Raises
        ------
        Refusal
            ``too_large``, ``slow``, or where too many arrive ``busy``, and ``too_many`` where they
            are of this client.
        ClientDisconnect
            If the client went away.
        """
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > self._most:
            raise self._too_large()
        with self._counted(client_of(request)):
            body = bytearray()
            try:
                async with asyncio.timeout(self._seconds):
                    async for chunk in request.stream():
                        body += chunk
                        if len(body) > self._most:
                            raise self._too_large()
            except TimeoutError:
                raise Refusal("slow") from None
            return bytes(body)

    @contextmanager
    def _counted(self, client: str) -> Iterator[None]:
        if self._arriving[client] >= self._each:
            raise Refusal("too_many", retry_after=1)
        if self._arriving.total() >= self._at_once:
            raise Refusal("busy", retry_after=1)
        self._arriving[client] += 1
        try:
            yield
        finally:
            self._arriving[client] -= 1
            # None below one stays: clients come and go.
            self._arriving += Counter()

    def _too_large(self) -> Refusal:
        return Refusal(
            "too_large", f"The body is too large: send at most {self._most / 1e6:.3g} MB."
        )


def read_type(request: Request) -> str:
    """Return the content type that a request says.

    Raises
    ------
    Refusal
        ``wrong_type`` if it is none that is taken, or packed.
    """
    told = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    packed = request.headers.get("content-encoding", "identity").strip().lower()
    if told not in CONTENT_TYPES or packed != "identity":
        raise Refusal("wrong_type")
    return told


async def drain(request: Request) -> None:
    """Throw away what a refused client still sends, within limits."""
    count = 0
    with suppress(ClientDisconnect, TimeoutError, RuntimeError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in request.stream():
                count += len(chunk)
                if count > _MOST_DRAINED:
                    return
