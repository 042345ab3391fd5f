"""Where workers are: fixed host:port addresses, and DNS names that stand for however many there are now."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from services.common.errors import ConfigError

DNS_PREFIX = "dns:///"


def check_address(address: str) -> None:
    """Raise ConfigError unless it is host:port or dns:///name:port."""
    host, _, port = address.removeprefix(DNS_PREFIX).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigError(f"worker address: wanted host:port or dns:///name:port, got {address!r}")


async def resolve_addresses(addresses: Sequence[str]) -> dict[str, list[str]]:
    """Look up every address; returns address -> its host:port targets, [] for a name that has none now.

    A headless Service gives one A record a ready pod, so each becomes a target of its own; gRPC's own resolver would
    hide them behind one channel.
    """
    loop = asyncio.get_running_loop()
    targets: dict[str, list[str]] = {}
    for address in addresses:
        if not address.startswith(DNS_PREFIX):
            targets[address] = [address]
            continue
        host, _, port = address.removeprefix(DNS_PREFIX).rpartition(":")
        try:
            found = await loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except OSError:
            found = []
        targets[address] = sorted({_target(str(sockaddr[0]), port) for *_, sockaddr in found})
    return targets


def _target(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
