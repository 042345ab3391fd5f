"""Where a client's service is and how it is reached: address, TLS, API key, and the options of every connection."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path

import grpc

REQUEST_ID_HEADER = "x-request-id"
API_KEY_HEADER = "x-api-key"

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    # A recording may have 64 MiB.
    ("grpc.max_send_message_length", 65 * 1024 * 1024),
    ("grpc.max_receive_message_length", 65 * 1024 * 1024),
    # A connection that is dead without saying so is noticed within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # grpc's own, up to two minutes, would be longer than our retries wait.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Responses are small; with the window that grows, megabytes of them would wait before a slow reader slows anybody.
    ("grpc.http2.bdp_probe", 0),
    # Else two channels to one address share a connection, and a new channel would not leave a gateway that stops.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, kw_only=True)
class Tls:
    """ca_file: PEM, the CAs to trust; None for the system's. server_name: in the certificate, if not the address's.

    cert_file and key_file: a certificate of the client's own, where a proxy before the service wants one.
    """

    ca_file: Path | str | None = None
    server_name: str = ""
    cert_file: Path | str | None = None
    key_file: Path | str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raises OSError, or ValueError for a CA file without certificates."""
        ca, key, cert = (
            None if path is None else Path(path).read_bytes() for path in (self.ca_file, self.key_file, self.cert_file)
        )
        if ca is not None and b"-----BEGIN CERTIFICATE-----" not in ca:
            raise ValueError(f"ca_file: wanted certificates in PEM, found none in {self.ca_file}")
        return grpc.ssl_channel_credentials(ca, key, cert)


@dataclass(frozen=True)
class Target:
    """address: host:port, or whatever gRPC resolves (dns:///…). credentials: None for plain text."""

    address: str
    credentials: grpc.ChannelCredentials | None
    server_name: str = ""
    api_key: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, address: str, tls: bool | Tls, api_key: str | None) -> Target:
        """Read what a client was made with. tls: True for the system's CAs. Raises OSError or ValueError."""
        if api_key is not None and (not api_key.isascii() or not api_key.isprintable() or api_key != api_key.strip()):
            raise ValueError("api_key: wanted printable ASCII without space around it")
        options = Tls() if tls is True else tls
        if not options:
            return cls(address, None, api_key=api_key)
        return cls(address, options.credentials(), options.server_name, api_key)

    @property
    def channel_options(self) -> list[tuple[str, str | int]]:
        """Return what every channel is opened with."""
        override = [("grpc.ssl_target_name_override", self.server_name)] if self.server_name else []
        return [*_OPTIONS, *override]

    def metadata(self, request_id: str) -> tuple[tuple[str, str | bytes], ...]:
        """Return what goes with every call."""
        request = (REQUEST_ID_HEADER, request_id)
        return (request, (API_KEY_HEADER, self.api_key)) if self.api_key else (request,)


def new_request_id() -> str:
    """Make the id of a call, which the service's log has too."""
    return uuid.uuid4().hex
