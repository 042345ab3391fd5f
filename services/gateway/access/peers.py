"""How many sessions one address has open, whatever keys it uses.

Addresses are those of the connections. Behind a proxy or a load balancer that ends connections, all callers have its
address, so the limit is for gateways that callers reach directly.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from services.common.errors import QuotaExceeded

# One customer's share of IPv6.
_IPV6_PREFIX = 64


class PeerStreams:
    """Counts sessions by the address they come from."""

    def __init__(self, most: int) -> None:
        """most: sessions at once from one address; 0 for no limit."""
        self._most = most
        self._streams: Counter[str] = Counter()

    @contextmanager
    def stream(self, peer: str) -> Iterator[None]:
        """Count a session as long as the block. peer: as gRPC names it. Raises QuotaExceeded for one too many."""
        if not self._most:
            yield
            return
        address = address_of(peer)
        if self._streams[address] >= self._most:
            raise QuotaExceeded(
                f"{address}: wanted at most {self._most} sessions at once from one address, got one more",
                subject=f"peer:{address}",
            )
        self._streams[address] += 1
        try:
            yield
        finally:
            self._streams[address] -= 1
            if not self._streams[address]:
                del self._streams[address]


def address_of(peer: str) -> str:
    """Return whose sessions count together: an IPv4 address, the /64 of an IPv6 one, else the peer as it is.

    peer: "ipv4:10.0.0.7:40001", "ipv6:%5B2001:db8::7%5D:40001" or "unix:/path".
    """
    family, _, rest = unquote(peer).partition(":")
    if family not in ("ipv4", "ipv6"):
        return peer
    host = rest.rpartition(":")[0].strip("[]").partition("%")[0]
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
        address = address.ipv4_mapped
    return str(address)
