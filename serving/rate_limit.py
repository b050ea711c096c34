"""How much one client may ask for."""

import ipaddress
import math
from collections import OrderedDict

from starlette.requests import Request

# Clients that are remembered: what was longest unheard of is forgotten, and so begins anew.
_MAX_CLIENTS = 20_000


class RateLimiter:
    """A bucket of tokens for every client, from which each drawing takes one.

    Parameters
    ----------
    rate : tokens a second that come back; 0 for no limit.
    burst : tokens that a bucket holds.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def acquire(self, client: str, now: float) -> int:
        """Take a token of a client's.

        Parameters
        ----------
        client : its name, as ``name_client`` gives it.
        now : seconds on a clock that does not go back.

        Returns
        -------
        int
            0 where there was one, else seconds (at least 1) until there is.
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
    """Return what the client of a request is counted by; see ``name_client``."""
    return client_key(request.client.host if request.client else None)


def client_key(address: str | None) -> str:
    """Return what a client is counted by: its IPv4 address, or the network that IPv6 gives a home.

    Parameters
    ----------
    address : of the connection; None where there is none, as with a Unix socket.
    """
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        # Whoever has one address of these has them all.
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
