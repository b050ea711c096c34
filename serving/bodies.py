"""Bodies of requests: how much, for how long, how many at once."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from starlette.requests import ClientDisconnect, Request

from serving.decode import CONTENT_TYPES
from serving.errors import ApiError
from serving.rate_limit import get_client_key

# What a refused client may still send, so that it reads the answer: one that finds the line closed
# while it sends may never look. Bytes, and seconds.
_MAX_DRAIN_BYTES, _DRAIN_TIMEOUT_S = 8 << 20, 2


class BodyReader:
    """Reads bodies, and refuses them before they are here where that can be told.

    Parameters
    ----------
    most : bytes of one.
    seconds : that one may take.
    at_once : that arrive at the same time.
    each : of these, from one client.
    """

    def __init__(self, max_bytes: int, timeout: float, max_concurrent: int, max_per_client: int) -> None:
        self._max_bytes, self._timeout, self._max_concurrent, self._max_per_client = max_bytes, timeout, max_concurrent, max_per_client
        # By client.
        self._active: Counter[str] = Counter()

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
        content_length = request.headers.get("content-length", "")
        if content_length.isdecimal() and int(content_length) > self._max_bytes:
            raise self._too_large_error()
        with self._count_active(get_client_key(request)):
            body = bytearray()
            try:
                async with asyncio.timeout(self._timeout):
                    async for chunk in request.stream():
                        body += chunk
                        if len(body) > self._max_bytes:
                            raise self._too_large_error()
            except TimeoutError:
                raise ApiError("slow") from None
            return bytes(body)

    @contextmanager
    def _count_active(self, client: str) -> Iterator[None]:
        if self._active[client] >= self._max_per_client:
            raise ApiError("too_many", retry_after=1)
        if self._active.total() >= self._max_concurrent:
            raise ApiError("busy", retry_after=1)
        self._active[client] += 1
        try:
            yield
        finally:
            self._active[client] -= 1
            # None below one stays: clients come and go.
            self._active += Counter()

    def _too_large_error(self) -> ApiError:
        return ApiError(
            "too_large", f"The body is too large: send at most {self._max_bytes / 1e6:.3g} MB."
        )


def read_content_type(request: Request) -> str:
    """Return the content type that a request says.

    Raises
    ------
    Refusal
        ``wrong_type`` if it is none that is taken, or packed.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    content_encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if content_type not in CONTENT_TYPES or content_encoding != "identity":
        raise ApiError("wrong_type")
    return content_type


async def drain_body(request: Request) -> None:
    """Throw away what a refused client still sends, within limits."""
    count = 0
    with suppress(ClientDisconnect, TimeoutError, RuntimeError):
        async with asyncio.timeout(_DRAIN_TIMEOUT_S):
            async for chunk in request.stream():
                count += len(chunk)
                if count > _MAX_DRAIN_BYTES:
                    return
