"""Settings of what a process tells of itself; every service has them."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.env import setting
from services.common.errors import ConfigError

_EXPORTERS = ("otlp", "none")


@dataclass(frozen=True, kw_only=True)
class TelemetrySettings:
    """Where metrics and traces go: nowhere by default.

    The variables that begin with OTEL_ are OpenTelemetry's own, and mean what they mean everywhere. Those not named
    here (OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS …) are read by
    its SDK.
    """

    metrics_listen: str = setting(
        "DSM_METRICS_LISTEN", "host:port where Prometheus finds the metrics, plain HTTP; empty: nowhere", default=""
    )
    otlp_endpoint: str = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT", "Where traces and metrics are sent by OTLP over gRPC; empty: nowhere", default=""
    )
    otlp_traces_endpoint: str = setting("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "The same for traces alone", default="")
    otlp_metrics_endpoint: str = setting(
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "The same for metrics alone", default=""
    )
    otlp_protocol: str = setting("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc is the only one", default="grpc")
    traces_exporter: str = setting("OTEL_TRACES_EXPORTER", "otlp, or none to send no traces", default="otlp")
    metrics_exporter: str = setting("OTEL_METRICS_EXPORTER", "otlp, or none to send no metrics", default="otlp")

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.metrics_listen:
            host, _, port = self.metrics_listen.rpartition(":")
            if not host or not port.isdecimal() or int(port) > 65_535:
                raise ConfigError(f"DSM_METRICS_LISTEN: wanted host:port, got {self.metrics_listen!r}")
        for variable, exporter in (
            ("OTEL_TRACES_EXPORTER", self.traces_exporter),
            ("OTEL_METRICS_EXPORTER", self.metrics_exporter),
        ):
            if exporter not in _EXPORTERS:
                raise ConfigError(f"{variable}: wanted one of {', '.join(_EXPORTERS)}, got {exporter!r}")
        if self.otlp_protocol != "grpc":
            raise ConfigError(f"OTEL_EXPORTER_OTLP_PROTOCOL: wanted grpc, got {self.otlp_protocol!r}")

    @property
    def traces_to(self) -> str:
        """Return where traces are sent; "" for nowhere."""
        return (self.otlp_traces_endpoint or self.otlp_endpoint) if self.traces_exporter == "otlp" else ""

    @property
    def metrics_to(self) -> str:
        """Return where metrics are sent; "" for nowhere."""
        return (self.otlp_metrics_endpoint or self.otlp_endpoint) if self.metrics_exporter == "otlp" else ""
