"""Reading of request bodies, with limits of size, time and concurrency."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from starlette.requests import ClientDisconnect, Request

from serving.decode import CONTENT_TYPES
from serving.errors import ApiError
from serving.rate_limit import get_client_key

# What a client may still send after an error: one that finds the connection closed while it sends
# may never read the response.
_MAX_DRAIN_BYTES, _DRAIN_TIMEOUT_S = 8 << 20, 2


class BodyReader:
    """Reads request bodies, and rejects those over the limits as early as possible.

    Parameters
    ----------
    max_bytes : int
        Largest body.
    timeout : float
        Seconds that one body may take to arrive.
    max_concurrent : int
        Bodies that are read at the same time.
    max_per_client : int
        Bodies of one client that are read at the same time.
    """

    def __init__(
        self, max_bytes: int, timeout: float, max_concurrent: int, max_per_client: int
    ) -> None:
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._max_concurrent = max_concurrent
        self._max_per_client = max_per_client
        # Bodies that are being read, by client.
        self._active: Counter[str] = Counter()

    async def read(self, request: Request) -> bytes:
        """Return the body of a request.

        Raises
        ------
        ApiError
            ``too_large``; ``slow`` after the timeout; ``busy`` if too many bodies are being read,
            ``too_many`` if too many of them are this client's.
        ClientDisconnect
            If the client closed the connection.
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
            # Drops entries of zero, so that the counter does not grow with every client.
            self._active += Counter()

    def _too_large_error(self) -> ApiError:
        return ApiError(
            "too_large", f"The body is too large: send at most {self._max_bytes / 1e6:.3g} MB."
        )


def read_content_type(request: Request) -> str:
    """Return the content type of a request, in lower case and without parameters.

    Raises
    ------
    ApiError
        ``wrong_type`` if it is not one of ``CONTENT_TYPES``, or the body is compressed.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    content_encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if content_type not in CONTENT_TYPES or content_encoding != "identity":
        raise ApiError("wrong_type")
    return content_type


async def drain_body(request: Request) -> None:
    """Read and discard the rest of a request's body, up to 8 MiB and 2 s."""
    count = 0
    with suppress(ClientDisconnect, TimeoutError, RuntimeError):
        async with asyncio.timeout(_DRAIN_TIMEOUT_S):
            async for chunk in request.stream():
                count += len(chunk)
                if count > _MAX_DRAIN_BYTES:
                    return
