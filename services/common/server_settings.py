"""Settings of every process that listens: who may connect, and how much one connection may hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.common.env import setting
from services.common.errors import ConfigError
from services.common.telemetry.settings import TelemetrySettings
from services.common.tls import CertificateFiles, certificate_files


@dataclass(frozen=True, kw_only=True)
class ServerSettings(TelemetrySettings):
    """Settings that all services have."""

    mtls_cert_file: Path | None = setting(
        "DSM_MTLS_CERT_FILE",
        "Certificate between gateway and workers, PEM; workers then refuse callers without one",
        default=None,
    )
    mtls_key_file: Path | None = setting("DSM_MTLS_KEY_FILE", "The private key of that certificate, PEM", default=None)
    mtls_ca_file: Path | None = setting(
        "DSM_MTLS_CA_FILE", "The CA that must have signed the other side's certificate, PEM", default=None
    )
    max_streams_per_connection: int = setting(
        "DSM_MAX_STREAMS_PER_CONNECTION", "Calls at once on one connection; further ones wait", default=256
    )
    handshake_timeout_s: float = setting(
        "DSM_HANDSHAKE_TIMEOUT_S",
        "A connection that is not ready for calls after this is closed, seconds",
        default=10.0,
    )
    max_connection_age_s: float = setting(
        "DSM_MAX_CONNECTION_AGE_S",
        "An older connection gets no new calls, present ones go on, seconds; 0: no limit",
        default=0.0,
    )
    health_listen: str = setting(
        "DSM_HEALTH_LISTEN",
        "host:port of a second port for health checks alone, never with TLS; empty: none",
        default="",
    )
    reflection: bool = setting("DSM_REFLECTION", "Answer gRPC reflection", default=False)

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        super().__post_init__()
        _ = self.mtls_files
        if not 1 <= self.max_streams_per_connection <= 2**31 - 1:
            raise ConfigError(
                f"DSM_MAX_STREAMS_PER_CONNECTION: wanted at least 1, got {self.max_streams_per_connection}"
            )
        if self.handshake_timeout_s <= 0:
            raise ConfigError(f"DSM_HANDSHAKE_TIMEOUT_S: wanted more than 0, got {self.handshake_timeout_s}")
        if self.max_connection_age_s < 0:
            raise ConfigError(f"DSM_MAX_CONNECTION_AGE_S: wanted 0 or more, got {self.max_connection_age_s}")

    @property
    def mtls_files(self) -> CertificateFiles | None:
        """Return the files for connections between services; None without mTLS. Raises ConfigError for half of them."""
        return certificate_files(
            {
                "DSM_MTLS_CERT_FILE": self.mtls_cert_file,
                "DSM_MTLS_KEY_FILE": self.mtls_key_file,
                "DSM_MTLS_CA_FILE": self.mtls_ca_file,
            }
        )
