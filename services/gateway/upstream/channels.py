"""Channels to workers: in plain text, or with a certificate on both sides."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from services.common.tls import Certificates
from services.gateway.config import GatewayConfig

# What opens a channel to host:port.
OpenChannel = Callable[[str], grpc.aio.Channel]

_OPTIONS = (
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Channels to one address must not share a connection: a new one after a loss must be new.
    ("grpc.use_local_subchannel_pool", 1),
    # Our own retries are quicker than the default back-off of up to two minutes.
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


def open_plain_channel(target: str) -> grpc.aio.Channel:
    """Open a channel without TLS."""
    return grpc.aio.insecure_channel(target, options=_OPTIONS)


def channel_opener(config: GatewayConfig) -> OpenChannel:
    """Return what opens channels to workers. Raises ConfigError for a certificate that cannot be used."""
    if config.mtls_files is None:
        return open_plain_channel
    certificates = Certificates(config.mtls_files)
    # Addresses that a look-up found are numbers, which certificates of pods cannot name.
    name = [("grpc.ssl_target_name_override", config.mtls_server_name)] if config.mtls_server_name else []

    def open_channel(target: str) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(target, certificates.channel_credentials(), options=[*_OPTIONS, *name])

    return open_channel
