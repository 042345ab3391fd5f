"""Settings of a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.common.env import setting
from services.common.errors import ConfigError
from services.common.server_settings import ServerSettings
from services.common.tls import CertificateFiles, certificate_files


@dataclass(frozen=True, kw_only=True)
class GatewayConfig(ServerSettings):
    """Settings of a gateway, from DSM_… variables or flags."""

    listen: str = setting(
        "DSM_GATEWAY_LISTEN", "host:port of the public API; port 0 for any", default="127.0.0.1:50051"
    )
    codecs: tuple[str, ...] = setting(
        "DSM_GATEWAY_CODECS",
        "Codec workers, separated by commas: host:port, or dns:///name:port for every address of a name",
        default=("127.0.0.1:50061",),
    )
    lms: tuple[str, ...] = setting(
        "DSM_GATEWAY_LMS", "LM workers of all models, as for codecs", default=("127.0.0.1:50062",)
    )
    default_model: str = setting(
        "DSM_GATEWAY_DEFAULT_MODEL",
        "The model of a request that names none; empty: the first that is served",
        default="",
    )
    api_keys_file: Path | None = setting(
        "DSM_API_KEYS_FILE",
        "The keys that callers must have, and their quotas; without it everybody may call (see dsm-stt keys)",
        default=None,
    )
    tls_cert_file: Path | None = setting(
        "DSM_TLS_CERT_FILE", "Certificate chain of the public API, PEM; without it there is no TLS", default=None
    )
    tls_key_file: Path | None = setting("DSM_TLS_KEY_FILE", "The private key of that certificate, PEM", default=None)
    mtls_server_name: str = setting(
        "DSM_MTLS_SERVER_NAME",
        "The name that the certificates of all workers must have; empty: the host of their address",
        default="",
    )
    max_streams_per_peer: int = setting(
        "DSM_MAX_STREAMS_PER_PEER", "Sessions at once from one IP address; 0: no limit", default=0
    )
    admission_wait_s: float = setting(
        "DSM_ADMISSION_WAIT_S", "How long a new session waits for a slot, seconds", default=2.0
    )
    admission_queue: int = setting("DSM_ADMISSION_QUEUE", "Sessions that may wait for a slot at once", default=256)
    backlog_s: float = setting(
        "DSM_BACKLOG_S", "Audio of a session that may wait in the gateway, seconds", default=10.0
    )
    idle_timeout_s: float = setting(
        "DSM_IDLE_TIMEOUT_S",
        "A session without a message ends after this, unless its config says otherwise",
        default=60.0,
    )
    max_idle_timeout_s: float = setting(
        "DSM_MAX_IDLE_TIMEOUT_S", "The longest idle timeout a config may ask for, seconds", default=600.0
    )
    max_duration_s: float = setting("DSM_MAX_DURATION_S", "The longest session, seconds of audio", default=14_400.0)
    heartbeat_timeout_s: float = setting(
        "DSM_HEARTBEAT_TIMEOUT_S", "A worker not heard of for this long is lost, seconds", default=5.0
    )
    hung_after_s: float = setting(
        "DSM_HUNG_AFTER_S", "A worker whose present step takes longer is lost, seconds", default=5.0
    )
    failover_wait_s: float = setting(
        "DSM_FAILOVER_WAIT_S", "How long a session whose worker was lost waits for another, seconds", default=10.0
    )
    history_s: float = setting(
        "DSM_HISTORY_S", "Codes and tokens kept to go on elsewhere, seconds of audio, at most 3000", default=2400.0
    )
    codec_window_s: float = setting(
        "DSM_CODEC_WINDOW_S", "Audio kept to go on at another codec, seconds, at most 40", default=30.0
    )
    resolve_every_s: float = setting("DSM_RESOLVE_EVERY_S", "Time between two look-ups of dns:/// names", default=5.0)
    drain_s: float = setting("DSM_DRAIN_S", "After SIGTERM, wait this long for sessions to end, seconds", default=25.0)
    log_level: str = setting("DSM_LOG_LEVEL", "debug, info, warning or error", default="info")
    log_format: str = setting("DSM_LOG_FORMAT", "json or console", default="json")

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        super().__post_init__()
        _ = self.tls_files
        if self.max_streams_per_peer < 0:
            raise ConfigError(f"DSM_MAX_STREAMS_PER_PEER: wanted 0 or more, got {self.max_streams_per_peer}")
        if self.mtls_server_name and not self.mtls_files:
            raise ConfigError("DSM_MTLS_SERVER_NAME: wanted DSM_MTLS_CERT_FILE and its key and CA beside it")
        if not self.codecs or not self.lms:
            raise ConfigError("DSM_GATEWAY_CODECS and DSM_GATEWAY_LMS: wanted at least one address each")
        for name in (
            "backlog_s",
            "idle_timeout_s",
            "max_duration_s",
            "heartbeat_timeout_s",
            "hung_after_s",
            "resolve_every_s",
        ):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}: wanted more than 0 seconds, got {getattr(self, name)}")
        if self.admission_wait_s < 0 or self.admission_queue < 0 or self.drain_s < 0:
            raise ConfigError("admission_wait_s, admission_queue and drain_s: wanted 0 or more")
        # Both are sent in one message each, of at most 8 MiB.
        if not 0 < self.history_s <= 3000 or not 0 < self.codec_window_s <= 40:
            raise ConfigError(
                "DSM_HISTORY_S and DSM_CODEC_WINDOW_S: wanted up to 3000 s and up to 40 s, "
                f"got {self.history_s} and {self.codec_window_s}"
            )
        if self.idle_timeout_s > self.max_idle_timeout_s:
            raise ConfigError(
                f"DSM_IDLE_TIMEOUT_S: wanted at most DSM_MAX_IDLE_TIMEOUT_S ({self.max_idle_timeout_s}), "
                f"got {self.idle_timeout_s}"
            )

    @property
    def tls_files(self) -> CertificateFiles | None:
        """Return the files for the public port; None without TLS. Raises ConfigError for half of them."""
        return certificate_files({"DSM_TLS_CERT_FILE": self.tls_cert_file, "DSM_TLS_KEY_FILE": self.tls_key_file})
