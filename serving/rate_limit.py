"""Rate limit per client."""

import ipaddress
import math
from collections import OrderedDict

from starlette.requests import Request

# Clients whose buckets are held; the least recently used one is dropped, and so starts full again.
_MAX_CLIENTS = 20_000


class RateLimiter:
    """A token bucket for each client; each request takes a token.

    Parameters
    ----------
    rate : float
        Tokens added a second; 0 for no limit.
    burst : int
        Capacity of a bucket.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def acquire(self, client: str, now: float) -> int:
        """Take a token from a client's bucket.

        Parameters
        ----------
        client : str
            From ``client_key``.
        now : float
            Seconds of a monotonic clock.

        Returns
        -------
        int
            0 if a token was taken, else seconds (at least 1) until there is one.

        Examples
        --------
        >>> limiter = RateLimiter(rate=0.5, burst=1)
        >>> limiter.acquire("192.0.2.7", now=0), limiter.acquire("192.0.2.7", now=0)
        (0, 2)
        """
        if not self._rate:
            return 0
        tokens, last = self._buckets.pop(client, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - last) * self._rate)
        wait = 0 if tokens >= 1 else max(1, math.ceil((1 - tokens) / self._rate))
        self._buckets[client] = (tokens if wait else tokens - 1, now)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return wait


def get_client_key(request: Request) -> str:
    """Return the key of a request's client; see ``client_key``."""
    return client_key(request.client.host if request.client else None)


def client_key(address: str | None) -> str:
    """Return the key that a client is counted by: its IPv4 address, or its IPv6 /64 network.

    Parameters
    ----------
    address : str or None
        Address of the connection; None for a Unix socket.

    Examples
    --------
    >>> client_key("::ffff:192.0.2.7")
    '192.0.2.7'
    >>> client_key("2001:db8:1:2:3:4:5:6")
    '2001:db8:1:2::/64'
    """
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        # A subscriber usually gets a whole /64.
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
